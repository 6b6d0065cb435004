"""Trains the vocabularies of bench/tokenizer.ts that are not byte-level BPE, in the shapes of BERT, CLIP, Llama 2, T5 and XLM-R.

Reads documents from standard input, one JSON text per line, and writes NAME.json or, for SentencePiece, NAME.model into the
folder given as argument. Run with the Python of `node scripts/setup-python.mjs peers`.
"""

import io
import json
import sys
from pathlib import Path

import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CLIP_PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def train(folder: Path, name: str, tokenizer: Tokenizer, trainer: trainers.Trainer, texts: list[str]) -> None:
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.save(str(folder / f"{name}.json"))


def bert(folder: Path, texts: list[str]) -> None:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    train(folder, "bert", tokenizer, trainers.WordPieceTrainer(vocab_size=30522, special_tokens=special), texts)


def clip(folder: Path, texts: list[str]) -> None:
    tokenizer = Tokenizer(models.BPE(unk_token="<|endoftext|>", end_of_word_suffix="</w>"))
    steps = [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    tokenizer.normalizer = normalizers.Sequence(steps)
    words = pre_tokenizers.Split(Regex(CLIP_PATTERN), "removed", invert=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=49408,
        special_tokens=["<|startoftext|>", "<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        end_of_word_suffix="</w>",
    )
    train(folder, "clip", tokenizer, trainer, texts)


def llama2(folder: Path, texts: list[str]) -> None:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    # Words of lines: longer ones would be merged across the ends of lines, which are bytes.
    lines = [line for text in texts for line in text.split("\n")]
    train(folder, "llama2", tokenizer, trainers.BpeTrainer(vocab_size=32000, special_tokens=special), lines)
    path = folder / "llama2.json"
    spec = json.loads(path.read_text())
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    spaces = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "\u2581"}, replace]}
    spec |= {"pre_tokenizer": None, "normalizer": spaces}
    spec["added_tokens"] = spec["added_tokens"][:3]
    path.write_text(json.dumps(spec))


def piece_model(folder: Path, name: str, texts: list[str], vocab_size: int) -> None:
    model = io.BytesIO()
    lines = (line for text in texts for line in text.split("\n") if line.strip())
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=lines,
        model_writer=model,
        model_type="unigram",
        vocab_size=vocab_size,
        hard_vocab_limit=False,
        num_threads=1,
        minloglevel=2,
    )
    (folder / f"{name}.model").write_bytes(model.getvalue())


def main() -> None:
    folder = Path(sys.argv[1])
    texts = [json.loads(line) for line in sys.stdin]
    bert(folder, texts)
    clip(folder, texts)
    llama2(folder, texts)
    piece_model(folder, "t5", texts, vocab_size=32000)
    piece_model(folder, "xlm-r", texts, vocab_size=250000)


main()
