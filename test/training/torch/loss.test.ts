/** Compares the blockwise loss with torch's. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { ROOT } from '../../cli/support.js'
import { temporaryFolder } from '../../stages/support.js'
import { slow, torchPython } from './fixtures.js'

/** Three rows of 41 tokens, with a vocabulary large enough for a dozen blocks and some ignored targets. */
const script = `
import json, os, sys, torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from penstock_torch.loss import linear_loss_sum, loss_sum

torch.set_num_threads(1)
rank = int(os.fork() == 0)
dist.init_process_group("gloo", init_method=f"file://{sys.argv[1]}", rank=rank, world_size=2)
mesh = init_device_mesh("cpu", (2,))
torch.manual_seed(1)
values = 4 * torch.randn(3, 41, 50304)
targets = torch.randint(0, 50304, (3, 41))
targets[0, 5:9] = -100
targets[2] = -100
weights = torch.tensor([0.5, 2.0, 0.0])

def blockwise(logits, weights):
    return loss_sum(logits, targets, weights)

def reference(logits, weights):
    each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-100, reduction="none").view_as(targets)
    return (each if weights is None else each * weights.unsqueeze(1)).sum()

def run(loss, weights, type):
    logits = values.to(type, copy=True).requires_grad_()
    found = loss(logits, weights)
    (0.25 * found).backward()
    return found.detach().double(), logits.grad.double()

found = []
for of_rows, type in ((None, torch.float32), (weights, torch.float32), (None, torch.bfloat16)):
    (loss, gradient), (expected, expected_gradient) = run(blockwise, of_rows, type), run(reference, of_rows, torch.float32)
    found.append([(loss / expected - 1).abs().item(), (gradient - expected_gradient).abs().max().item()])
# The output layer in the loss: 123 states of width 16, in blocks of 10 rows.
states, head = torch.randn(3, 41, 16), 0.5 * torch.randn(300, 16)
targets = targets.where(targets < 0, targets % 300)
for of_rows, type in ((None, torch.float32), (weights, torch.float32), (None, torch.bfloat16)):
    results = []
    for fused in (True, False):
        kind = type if fused else torch.float32
        state, weight = (tensor.to(kind, copy=True).requires_grad_() for tensor in (states, head))
        if fused:
            loss = linear_loss_sum(state, weight, targets, of_rows, 12_000)
        else:
            loss = reference(F.linear(state, weight), of_rows)
        (0.25 * loss).backward()
        results.append((loss.detach().double(), state.grad.double(), weight.grad.double()))
    (loss, *gradients), (expected, *expected_gradients) = results
    difference = max((a - b).abs().max().item() for a, b in zip(gradients, expected_gradients))
    found.append([(loss / expected - 1).abs().item(), difference])
# The same with half of the vocabulary on each of two ranks.
for of_rows in (None, weights):
    state = distribute_tensor(states, mesh, [Replicate()]).requires_grad_()
    weight = distribute_tensor(head, mesh, [Shard(0)]).requires_grad_()
    loss = linear_loss_sum(state, weight, targets, of_rows, 12_000).to_local()
    (0.25 * loss).backward()
    one, whole = states.clone().requires_grad_(), head.clone().requires_grad_()
    expected = reference(F.linear(one, whole), of_rows)
    (0.25 * expected).backward()
    pairs = ((state.grad.full_tensor(), one.grad), (weight.grad.full_tensor(), whole.grad))
    difference = max((a - b).abs().max().item() for a, b in pairs)
    found.append([(loss / expected - 1).abs().item(), difference])
dist.destroy_process_group()
if rank == 0:
    print(json.dumps(found))
`

describe.skipIf(torchPython === undefined)('the loss on a CPU', () => {
  test(
    'and its gradients equal those of torch, also fused with the output layer, with weights, ignored targets, 16 bits and a vocabulary on two ranks',
    () => {
      const store = join(temporaryFolder(), 'store')
      const env = { ...process.env, PYTHONPATH: join(ROOT, 'torch') }
      const found = JSON.parse(execFileSync(torchPython!, ['-c', script, store], { encoding: 'utf8', env }))
      const [plain, weighted, half, fused, fusedWeighted, fusedHalf, ...split] = found as [number, number][]
      expect(split).toHaveLength(2)
      for (const [loss, gradient] of [plain!, weighted!, fused!, fusedWeighted!, ...split]) {
        expect(loss).toBeLessThan(1e-6)
        expect(gradient).toBeLessThan(5e-6)
      }
      expect(half![0]).toBeLessThan(1e-3)
      expect(half![1]).toBeLessThan(5e-3)
      expect(fusedHalf![0]).toBeLessThan(1e-2)
      expect(fusedHalf![1]).toBeLessThan(5e-2)
    },
    slow,
  )
})
