import { expect, test } from 'vitest'
import { peakFlopsOf } from '#src/training/torch/cards'

test.each([
  ['NVIDIA A100-SXM4-40GB', 312e12],
  ['NVIDIA H100 80GB HBM3', 989.5e12],
  ['NVIDIA H100 PCIe', 756.5e12],
  ['NVIDIA H100 NVL', 835.5e12],
  ['NVIDIA H800', 989.5e12],
  ['NVIDIA GH200 480GB', 989.5e12],
  ['NVIDIA H200', 989.5e12],
  ['NVIDIA H200 NVL', 835.5e12],
  ['NVIDIA B200', 2250e12],
  ['NVIDIA GB200', 2500e12],
  ['NVIDIA B300 SXM6 AC', 2250e12],
  ['AMD Instinct MI300X', 1307.4e12],
  ['NVIDIA GeForce RTX 4090', undefined],
  ['', undefined],
])('the peak of %s is the published one', (name, peak) => {
  expect(peakFlopsOf(name)).toBe(peak)
})
