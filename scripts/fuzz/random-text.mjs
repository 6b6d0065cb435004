/** Texts that are hard to tokenize: mixed scripts, combining marks, joiners, control characters, runs and given pieces. */
const FRAGMENTS = [
  ...' |  |   |\n|\n\n|\r\n|\t|\u00a0|\u0085|\u3000|\u2003|\u200b|\u200c|\u200d|\ufeff|\u1680|\u2028|\u180e|\x0b|\x0c|\x1c|\x7f'.split(
    '|',
  ),
  ..."a|b|ab|abc|the| the|The|HTTPServer|CamelCase|don't|'s|'S|I'll|it're|\u2019s|'\u017f|x_y|a-b|3.14|1,000|e.g.|U.S.".split(
    '|',
  ),
  ...'\u00e9|e\u0301|\u00df|\u1e9e|\u0130|\u0131|\u03a3|\u03c3|\u03c2|\u039f\u03a3|\ufb01|\u01c5|\u00c5|\u212b|\u2126|\u00bd|\u00b2|\u2167'.split(
    '|',
  ),
  ...'漢字|ひら|カナ|ガ|ー|한글|\u1100\u1161\u11a8|\u1112\u1161|العربية|\u0627\u0644|ไทย|नमस्ते|क्षि|нет|Ёж|Ω|עברית|\u2581|▁a'.split(
    '|',
  ),
  ...'😀|👨\u200d👩\u200d👧|🇩🇪🇫🇷|👍🏽|\u{1d4b3}|\u{20000}|\u{2a700}|\u{2f800}|\uf900|\u{10ffff}|\ue000|\ufffd|\u0000|\u{e0001}|\u0600\u0661'.split(
    '|',
  ),
  ...'\u0301|\u0323\u0301|\u0301\u0323|\u0344|\u0f73|\u0345|\u0334|\u3099|\u20dd|\u0903|\u094d|\u06dd|\u0e33|\ufe0f|a\u0315\u0300\u05ae'.split(
    '|',
  ),
  ...'.|,|!|?|!!|...|--|=|$|+|<|>|^|`|~|#|@|%|&|*|(|)|[x]|{|}|"|\u201c|\u201d|\u2026|\u3001|\u3002|\u00bf|\u20ac|_|/|\\|\\|/|0|1|23|4567|\u0663|\u0967|\u{1d7d8}|\u{11de1}'.split(
    '|',
  ),
  // Newer than some tables: Unicode 9 to 17; unassigned; lone surrogates; jamo without a syllable; words that are cased.
  ...'\u{1e900}\u{1e922}|\u{1f9ff}|\u{16e60}|\u{a7cb}|\u{10d50}\u{10d70}|\u{1c89}|\u{11bf0}|\u{16d40}|\u{1fbc5}|\u{a7d2}|\u{16ea0}'.split(
    '|',
  ),
  ...'\u0378|\u{e0fff}|\ud800|\udc00|\u1161|\u11a8\u1100|\uac00\u11a8|\uffa1|ΣΑΣ ΑΣ|İI|ǅ|ŉ|<0x0A>|<0xE6>|[UNK]|<unk>|##a|\u0590'.split(
    '|',
  ),
]

function randomCharacter(random) {
  const codePoint = random.below(random.pick([0x80, 0x250, 0x3000, 0x3000, 0x20000, 0x110000]))
  return codePoint >= 0xd800 && codePoint < 0xe000 ? ' ' : String.fromCodePoint(codePoint)
}

/** @param pieces texts that shall occur, such as added tokens */
export function randomText(random, pieces = [], length = 30) {
  let text = ''
  for (let count = random.below(length + 1); count > 0; count--) {
    const kind = random.next()
    if (kind < 0.25 && pieces.length > 0) text += random.pick(pieces)
    else if (kind < 0.4) text += ' '
    else if (kind < 0.45) text += random.pick(FRAGMENTS).repeat(1 + random.below(random.chance(0.2) ? 90 : 4))
    else if (kind < 0.9) text += random.pick(FRAGMENTS)
    else text += randomCharacter(random)
  }
  return text
}
