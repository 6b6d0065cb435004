/** JSON in Python's format. The expected text is the output of `json.dumps(json.loads(text), ensure_ascii=False)`. */
import { describe, expect, it } from 'vitest'
import { parsePythonJson, pythonJson } from '#src/modalities/yaml/python-json'

describe('pythonJson', () => {
  it.each([
    ['{"b":1,"a":[1.0,{}],"2":null}', '{"b": 1, "a": [1.0, {}], "2": null}'],
    ['[1e-7,1e22,1E16,0.1,-0.0,-0,12345.678,1.50]', '[1e-07, 1e+22, 1e+16, 0.1, -0.0, 0, 12345.678, 1.5]'],
    ['[123456789012345678901234567890,1e999]', '[123456789012345678901234567890, Infinity]'],
    ['"\\u00fc\\ud83d\\ude00\\u0001\\/\\u2028\\n"', '"ü😀\\u0001/\u2028\\n"'],
    ['{"a":1,"b":2,"a":3}', '{"a": 3, "b": 2}'],
    [' [ ] ', '[]'],
    ['{"__proto__": {"x": true}}', '{"__proto__": {"x": true}}'],
  ])('%s', (text, expected) => {
    expect(pythonJson(parsePythonJson(text))).toBe(expected)
  })

  it.each(['{"a": 1', '[1,]', "{'a': 1}", '1 2', ''])('rejects %j', text => {
    expect(() => parsePythonJson(text)).toThrow(expect.objectContaining({ code: 'JSON_INVALID' }))
  })
})
