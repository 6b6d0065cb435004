/** Functions of jq 1.8 for the package jq-web, which is jq 1.7: trimming, and positions counted in code points. */
export const JQ_PRELUDE = `
def _text: if type == "string" then . else error("trim input must be a string") end;
def ltrim: _text | sub("\\\\A\\\\p{Space}+"; "");
def rtrim: _text | sub("\\\\p{Space}+\\\\z"; "");
def trim: ltrim | rtrim;
def trimstr($ends): ltrimstr($ends) | rtrimstr($ends);
def toarray: if type == "array" then . else [.] end;
def add(f): reduce f as $item (null; . + $item);
def last(f): reduce f as $item (null; [$item]) | if . == null then empty else .[0] end;
def skip($count; f):
  if $count < 0 then error("skip doesn't support negative count")
  else foreach f as $item ($count; . - 1; if . < 0 then $item else empty end) end;
def _width: if . < 128 then 1 elif . < 2048 then 2 elif . < 65536 then 3 else 4 end;
def _positions($bytes): [foreach explode[] as $code ({at: 0, number: -1, next: 0, found: false};
  .number += 1 | .found = (.at == $bytes[.next]) | if .found then .next += 1 else . end | .at += ($code | _width);
  if .found then .number else empty end)];
def indices($wanted):
  if type == "string" and ($wanted | type) == "string" then
    if $wanted == "" then [] else _strindices($wanted) as $bytes | if $bytes == [] then [] else _positions($bytes) end end
  elif type == "array" and ($wanted | type) == "array" then .[$wanted]
  elif type == "array" then .[[$wanted]]
  else .[$wanted] end;
def index($wanted): indices($wanted) | .[0];
def rindex($wanted): indices($wanted) | .[-1:][0];
`
