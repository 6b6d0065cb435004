/** Gradients with activation checkpointing, and small parts of a rank that need no process group. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseTraining, resolveModel } from '#src/training/options'
import { ROOT } from '../../cli/support.js'
import { slow, torchPython } from './fixtures.js'

function runPython(script: string, argument: object = {}) {
  const env = { ...process.env, PYTHONPATH: join(ROOT, 'torch') }
  const output = execFileSync(torchPython!, ['-c', script, JSON.stringify(argument)], { encoding: 'utf8', env })
  return JSON.parse(output)
}

/**
 * The bytes that autograd stores for the backward pass, the products that it computes, all of its operators, and the
 * gradients. The results that selective checkpointing keeps are not among those bytes.
 */
const gradients = `
import json, sys, types
import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from penstock_torch.model import Gpt

class Operators(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []
    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.names.append(operator.name())
        return operator(*args, **(kwargs or {}))

ids = torch.arange(32).view(2, 16) % 96
found = []
for checkpointing, every in ((False, 1), (True, 1), ("selective", 1), (True, 2), ("selective", 2)):
    torch.manual_seed(1)
    gpt = Gpt(types.SimpleNamespace(**json.loads(sys.argv[1])), checkpointing, every)
    stored = 0
    def pack(tensor):
        global stored
        stored += tensor.nbytes
        return tensor
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = gpt(ids, ids)
    operators = Operators()
    with operators:
        loss.backward()
    products = sum(name in ("aten::mm", "aten::addmm") for name in operators.names)
    found.append([stored, products, len(operators.names), loss.item(), *(parameter.grad.double().sum().item() for parameter in gpt.parameters())])
print(json.dumps(found))
`

const housekeeping = `
import gc, json, os
from penstock_torch import parallel
from penstock_torch.garbage import StepwiseCollection

os.environ["PYTORCH_CUDA_ALLOC_CONF"] = "max_split_size_mb:64"
parallel._prefer_expandable_segments()
kept = os.environ.get("PYTORCH_ALLOC_CONF")
del os.environ["PYTORCH_CUDA_ALLOC_CONF"]
parallel._prefer_expandable_segments()
collections = []
gc.callbacks.append(lambda phase, info: phase == "start" and collections.append(step))
step = 0
garbage = StepwiseCollection()
for step in range(1, 121):
    cycles = [[] for _ in range(2000)]
    for cycle in cycles:
        cycle.append(cycle)
    garbage.after_step()
print(json.dumps({"kept": kept, "set": os.environ.get("PYTORCH_ALLOC_CONF"), "collections": collections}))
`

describe.skipIf(torchPython === undefined)('a rank', { timeout: slow }, () => {
  test('has the same gradients with activation checkpointing, full or selective, of all or every second layer', () => {
    const model = { vocab_size: 96, sequence_length: 16, layers: 3, heads: 4, kv_heads: 2, width: 32 }
    const [plain, ...others] = runPython(gradients, resolveModel(model)) as number[][]
    for (const other of others) expect(other.slice(3)).toEqual(plain!.slice(3))
    const of = (column: number) => [plain!, ...others].map(values => values[column]!)
    const [storedPlain, storedAll, , storedOfHalf] = of(0)
    expect([storedAll! < storedOfHalf!, storedOfHalf! < storedPlain!]).toEqual([true, true])
    // A layer has seven products; the last of them is not needed again.
    const [products, ofAll, ofSelective, ofHalf, ofSelectiveHalf] = of(1)
    expect([ofAll! - products!, ofHalf! - products!]).toEqual([3 * 6, 2 * 6])
    expect([ofSelective, ofSelectiveHalf]).toEqual([products, products])
    const [operators, , operatorsOfSelective, , operatorsOfSelectiveHalf] = of(2)
    expect(operatorsOfSelective).toBeGreaterThan(operatorsOfSelectiveHalf!)
    expect(operatorsOfSelectiveHalf).toBeGreaterThan(operators!)
  })

  test('collects garbage at fixed steps only, and keeps the allocator settings of the user', () => {
    expect(runPython(housekeeping)).toEqual({ kept: null, set: 'expandable_segments:True', collections: [0, 50, 100] })
  })

  test('rejects a memory budget without compile', () => {
    expect(() => parseTraining({ engine: 'torch', torch: { activation_memory_budget: 0.5 } })).toThrow('needs compile')
  })
})
