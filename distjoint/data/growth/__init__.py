"""Growth of a dataset: a new one that has all of an earlier one, where it was, and what was added.

What holds, whatever is added:

* Every row of before keeps its id, its names, its kind, its tile and its shard (`table.layout`); rows that are new have
  the ids that follow. Relations keep their ids too.
* A row never changes its kind. So a new entity whose name is a word of before gets a row of its own, and a pair with
  that word; only what is new on both sides shares a row.
* Counts are those of before plus those of the new text. What the text of before said of words that were too rare then
  is not known any more.
* Triples of before stay in their splits; new ones are added to the split they are given for.
* What was said of an entity stays, with weights by how many entities a word is said of now; an entity that is described
  anew is what is said of it now.
* Where nothing is added, every file has the bits of before.

`before` reads what an earlier dataset has, the other modules each add to one kind of it.
"""
