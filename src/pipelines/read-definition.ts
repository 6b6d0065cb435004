/** A definition from its YAML. Apart from `definition.ts`, so that programs that make theirs load no YAML library. */
import { type Definition, defineFrom, type Variables } from './definition.js'
import { parseYaml } from './yaml-source.js'

/** @param overrides values that win over the definition's `variables`. @throws CONFIG_INVALID */
export function readDefinition(text: string, file: string, overrides: Variables = {}): Definition {
  return defineFrom(parseYaml(text, file), overrides)
}
