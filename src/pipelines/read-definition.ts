/**
 * Parses a definition from YAML. Separate from `definition.ts`, so that embedders who build definitions in code load no
 * YAML parser.
 */
import { type Definition, defineFrom, type Variables } from './definition.js'
import { parseYaml } from './yaml-source.js'

/** @param overrides values that override the definition's `variables`. @throws CONFIG_INVALID */
export function readDefinition(text: string, file: string, overrides: Variables = {}): Definition {
  return defineFrom(parseYaml(text, file), overrides)
}
