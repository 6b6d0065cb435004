"""Writes Arrow files of many kinds with pyarrow, all of the same texts, for read-arrow.test.ts: FOLDER TEXTS.json."""
import json
import os
import sys

import pyarrow as pa
from pyarrow import feather, ipc

folder, texts = sys.argv[1], json.load(open(sys.argv[2]))


def table(array, name="text"):
    ids = pa.array(range(len(texts)), pa.int64())
    numbers = pa.array([[1.5, None]] * len(texts), pa.list_(pa.float32()))
    return pa.table({"id": ids, "numbers": numbers, name: array})


def write(name, data, rows=700, stream=False, **options):
    path = os.path.join(folder, name)
    with pa.OSFile(path, "wb") as sink:
        new = ipc.new_stream if stream else ipc.new_file
        with new(sink, data.schema, options=ipc.IpcWriteOptions(**options)) as writer:
            writer.write_table(data, max_chunksize=rows)


plain = pa.array(texts, pa.string())
write("file.arrow", table(plain))
write("stream.arrows", table(plain), stream=True)
write("one-batch.arrow", table(plain), rows=len(texts))
write("many-batches.arrow", table(plain), rows=3)
write("lz4.arrow", table(plain), compression="lz4")
write("zstd.arrow", table(plain), stream=True, compression="zstd")
write("large.arrow", table(plain.cast(pa.large_string())))
write("view.arrow", table(plain.cast(pa.string_view())))
write("view-zstd.arrow", table(plain.cast(pa.string_view())), compression="zstd")
write("binary.arrow", table(plain.cast(pa.binary())))
write("dictionary.arrow", table(plain.dictionary_encode()))
write("dictionary-stream.arrow", table(plain.dictionary_encode()), stream=True, compression="lz4")
halves = pa.chunked_array([plain[:1000].dictionary_encode(), plain[1000:].dictionary_encode()])
write("replaced.arrow", table(halves), stream=True)
write("deltas.arrow", table(halves.unify_dictionaries()), stream=True, emit_dictionary_deltas=True)
write("sliced.arrow", table(pa.concat_arrays([plain, plain])[len(texts):]))
nested = pa.StructArray.from_arrays([pa.array(range(len(texts))), plain], names=["n", "text"])
write("nested.arrow", table(nested, "doc"))
feather.write_feather(table(plain), os.path.join(folder, "v2.feather"))

# Every third text is null: in the column itself, in its struct, in a dictionary.
with_nulls = pa.array([None if i % 3 == 1 else text for i, text in enumerate(texts)])
mask = pa.array([i % 3 == 1 for i in range(len(texts))])
write("nulls.arrow", table(with_nulls))
write("nulls-view.arrow", table(with_nulls.cast(pa.string_view())))
write("nulls-dictionary.arrow", table(with_nulls.dictionary_encode()))
write("nulls-in-dictionary.arrow", table(with_nulls.dictionary_encode(null_encoding="encode")))
write("nulls-struct.arrow", table(pa.StructArray.from_arrays([plain], names=["text"], mask=mask), "doc"))

record = {
    "text": "a",
    "big": 2**60,
    "small": -5,
    "half": 0.5,
    "yes": True,
    "none": None,
    "tags": ["x", None, "y"],
    "pair": [1, 2],
    "inner": {"word": "w", "list": [[1], []]},
    "kind": "red",
}
types = pa.schema(
    {
        "text": pa.string(),
        "big": pa.uint64(),
        "small": pa.int8(),
        "half": pa.float16(),
        "yes": pa.bool_(),
        "none": pa.null(),
        "tags": pa.list_(pa.string()),
        "pair": pa.list_(pa.int16(), 2),
        "inner": pa.struct({"word": pa.large_string(), "list": pa.large_list(pa.list_(pa.uint8()))}),
        "kind": pa.dictionary(pa.int8(), pa.string()),
    }
)
data = pa.Table.from_pylist([record, record | {"text": "b", "tags": [], "inner": None, "kind": None}], types)
import datetime

moment = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
for name, kind in [("at_s", "s"), ("at_ns", "ns")]:
    data = data.append_column(name, pa.array([moment] * 2, pa.timestamp(kind, "UTC")))
data = data.append_column("day", pa.array([moment.date()] * 2, pa.date32()))
data = data.append_column("price", pa.array([1, 2], pa.decimal128(5)))
write("records.arrow", data)
