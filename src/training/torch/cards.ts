/** Published figures of GPUs for training, for MFU and for plans. */

export interface Card {
  /** Name in options and messages. */
  readonly name: string
  /** Part of the device name that the driver reports. */
  readonly device: RegExp
  /** Dense bfloat16 operations per second; data sheets often list twice as many, for sparse matrices. */
  readonly peakFlops: number
  /** Published capacity, 10^9 bytes per GB. */
  readonly memoryBytes: number
}

/**
 * Sources: data sheets of the vendors.
 *   A100       nvidia.com/en-us/data-center/a100: 312 TFLOPS
 *   H100       nvidia.com/en-us/data-center/h100 and its PCIe data sheet: SXM 1,979, NVL 1,671, PCIe 1,513, with sparsity
 *   H800       lenovopress.lenovo.com/lp1814 (PCIe): 1,513 with sparsity; SXM has the same chip and clocks as H100
 *   H200       nvidia.com/en-us/data-center/h200: SXM 1,979, NVL 1,671, with sparsity
 *   GH200      nvidia.com/en-us/data-center/grace-hopper-superchip: 1,979 with sparsity
 *   B200, B300 nvidia.com/en-us/data-center/hgx: 36 PFLOPS with sparsity, 1.4 and 2.1 TB, for 8 GPUs
 *   GB200      nvidia.com/en-us/data-center/gb200-nvl72: 360 PFLOPS with sparsity, 13.4 TB, for 72 GPUs
 *   MI300X     amd.com/en/products/accelerators/instinct/mi300/mi300x.html: 1,307.4 TFLOPS
 * The first match counts, so special names precede general ones.
 */
const cards: readonly Card[] = [
  card('a100-40', /A100.*40GB/, 312, 40),
  card('a100-80', /A100/, 312, 80),
  card('h100-pcie', /H100 PCIe/, 756.5, 80),
  card('h100-nvl', /H100 NVL/, 835.5, 94),
  card('h100-80', /H100/, 989.5, 80),
  card('h800-pcie', /H800 PCIe/, 756.5, 80),
  card('h800', /H800/, 989.5, 80),
  card('gh200', /GH200/, 989.5, 96),
  card('h200-nvl', /H200 NVL/, 835.5, 141),
  card('h200', /H200/, 989.5, 141),
  card('gb200', /GB200/, 2500, 186),
  card('b200', /\bB200/, 2250, 180),
  card('b300', /\bB300/, 2250, 262),
  card('mi300x', /MI300X/, 1307.4, 192),
]

export const cardNames: readonly string[] = cards.map(({ name }) => name)

function card(name: string, device: RegExp, teraflops: number, gigabytes: number): Card {
  return { name, device, peakFlops: teraflops * 1e12, memoryBytes: gigabytes * 1e9 }
}

export function findCard(name: string): Card | undefined {
  return cards.find(known => known.name === name.toLowerCase())
}

/** Peak operations per second of a device, by the name that its driver reports; undefined if the device is unknown. */
export function peakFlopsOf(deviceName: string): number | undefined {
  return cards.find(({ device }) => device.test(deviceName))?.peakFlops
}
