"""What server and device must agree on about a Flower message: record names, keys and chunk size.

A message's content is a RecordDict: the record FIT holds the header and the first chunk of one safetensors
document, the records CHUNK 1, 2, … hold the rest of it under the key "weights".
"""

FORMAT = 1
MESSAGE_TYPE = "train"
FIT = "fit"
CHUNK = "chunk-{:03d}"
CHUNK_BYTES = 7_500_000
INSTRUCTION_KEYS = ("format", "run", "round", "fence", "config", "chunks", "weights")
REPLY_KEYS = ("format", "run", "round", "fence", "examples", "metrics", "chunks", "weights")
