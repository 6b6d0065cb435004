import { expect, it } from 'vitest'
import { delimiterIn } from '#src/stages/stream/csv-delimiter'

it.each([
  ['id,text\n1;2;3;4\n', ','],
  ['id;text\r\n1,2,3', ';'],
  ['id\ttext', '\t'],
  ['id|text|url\n', '|'],
  ['id;"a, b, c, d";"e ""f"", g"\n', ';'],
  ['name;price, EUR;text\n', ';'],
  ['text\n;;;', ','],
  ['', ','],
])('the delimiter of %j is the most frequent of its first row outside quotes', (head, delimiter) => {
  expect(delimiterIn(head)).toBe(delimiter)
})
