"""What client and server agree on about a training message; a test holds it equal to its twin.

The weights travel as one safetensors document, cut into chunks. A message's content holds the record FIT (the
header and the first chunk) and one record for each further chunk, named by CHUNK from 1 on.
"""

FORMAT = 1
MESSAGE_TYPE = "train"
FIT = "fit"
CHUNK = "chunk-{:03d}"
CHUNK_BYTES = 7_500_000
INSTRUCTION_KEYS = ("format", "run", "round", "fence", "config", "chunks", "weights")
REPLY_KEYS = ("format", "run", "round", "fence", "examples", "metrics", "chunks", "weights")
