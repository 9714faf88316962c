"""The line that the help of each command ends with; a test parses them all."""

from __future__ import annotations

EXAMPLES = {
    "train": "asr train recipes/an4/conf/conformer_ctc.yaml --out exp/an4",
    "evaluate": "asr evaluate exp/an4 data/an4/test.jsonl",
    "transcribe": "asr transcribe talk.mp3 --model recipes/an4/model --format srt",
    "listen": "asr listen --model recipes/digits/model --simulate talk.wav",
    "serve": "asr serve --model whisper-base --model recipes/an4/model",
    "align": "asr align talk.mp3 talk.txt --model recipes/an4/model --format srt",
    "score": "asr score reference.txt hypothesis.txt --by utterance",
    "tune": "asr tune exp/an4 data/an4/dev.jsonl --lm words.arpa",
    "average": "asr average exp/an4 --best 5 --out exp/an4_mean",
    "info": "asr info recipes/an4/model",
    "config": "asr config training",
    "runs": "asr runs exp --sort test",
    "data check": "asr data check data/an4/train.jsonl --out data/an4/good.jsonl",
    "data stats": "asr data stats data/an4/dev.jsonl --against data/an4/train.jsonl",
    "data leaks": "asr data leaks data/an4/train.jsonl data/an4/test.jsonl",
    "data import": "asr data import clips.csv --out data/clips.jsonl",
    "data export": "asr data export data/an4/test.jsonl --format kaldi --out kaldi/test",
    "data shard": "asr data shard data/an4/train.jsonl --out shards/an4",
    "data split": "asr data split data/mine.jsonl --dev 10% --test 10% --by speaker",
    "data cut": "asr data cut exp/an4 data/an4/train.jsonl --out pieces.jsonl",
    "lm train": "asr lm train data/an4/train.jsonl --order 3 --out words.arpa",
    "models list": "asr models list",
    "models pull": "asr models pull whisper-base",
    "models path": "asr models path whisper-base",
    "models remove": "asr models remove whisper-base",
    "models import": "asr models import faster-whisper-tiny.en --out models/tiny.en",
}


def epilog(command: str) -> str:
    """What stands at the end of a command's help."""
    return f"Example: {EXAMPLES[command]}"
