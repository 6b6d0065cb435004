/** A model of ours as the `config.json` of transformers: our weights file has the names of its Llama already. */
import { PenstockError } from '../../errors.js'
import type { ModelOptions } from '../../training/options.js'

/** @throws UNSUPPORTED for a model that is no Llama */
export function llamaConfig(model: ModelOptions): Record<string, unknown> {
  const wanted = { position: 'rotary', norm: 'rms', activation: 'swiglu', bias: false } as const
  for (const [key, value] of Object.entries(wanted)) {
    const found = model[key as keyof typeof wanted]
    if (found === value) continue
    const message = `a model with ${key}: ${found} is no Llama, which has ${value}: transformers has no class for it`
    throw new PenstockError('UNSUPPORTED', message, { path: `model.${key}` })
  }
  return {
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: model.vocab_size,
    hidden_size: model.width,
    intermediate_size: model.ffn_width,
    num_hidden_layers: model.layers,
    num_attention_heads: model.heads,
    num_key_value_heads: model.kv_heads,
    max_position_embeddings: model.sequence_length,
    hidden_act: 'silu',
    rms_norm_eps: model.norm_eps,
    rope_theta: model.rotary_base,
    tie_word_embeddings: model.tie_weights,
    attention_bias: false,
    mlp_bias: false,
    torch_dtype: 'float32',
  }
}
