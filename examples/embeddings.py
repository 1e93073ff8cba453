"""Word vectors from Python's own library: a large table, of which a batch touches little.

    python examples/embeddings.py

What you will see: skip-gram with negative samples (Mikolov et al., 2013), on the words of the
source files that came with your Python. The question is one for binary cross-entropy: "does this
word stand beside that one?" Each word is asked about one that does and four that were drawn at
random.

Nobody knows in advance which words there will be. So there is no vocabulary: a word's row is its
hash, in a table that is larger than needed, as it is done for users and products, too. A batch
names some thousand of its 262,144 rows.

- `Adam()` is exact: every step goes over the whole table, for the momentum of a row that the batch
  does not name moves it on.
- `Adam(lazy=True)` leaves these rows and their state alone. A step costs what the batch costs, and
  the table may be as large as it likes.

The gradient names its rows on TensorFlow. On JAX and PyTorch that of an `Embedding` is as large as
the table, and `lazy` changes nothing; the script says so where it runs there.
"""

from __future__ import annotations

import os
import re
import sys
import time
import zlib
from collections import Counter
from pathlib import Path

import keras
import lesson
import numpy as np
import style
from matplotlib import pyplot

from keras_optim_losses import losses, optimizers

WIDTH, WINDOW, NEGATIVES, BATCH = 64, 4, 4, 1024

GROUPS = (
    ("int", "float", "str", "bytes"),
    ("list", "tuple", "dict", "set"),
    ("append", "extend", "insert", "pop"),
    ("TypeError", "ValueError", "KeyError", "OSError"),
    ("read", "write", "seek", "close"),
    ("socket", "host", "port", "server"),
    ("year", "month", "day", "hour"),
    ("lower", "upper", "strip", "split"),
)


def library(files: int | None) -> list[list[str]]:
    """The words of the standard library's source files, or of that many of them."""
    root = Path(os.__file__).parent
    others = {"site-packages", "dist-packages", "test", "tests", "idlelib", "encodings"}
    paths = [p for p in sorted(root.rglob("*.py")) if not others & set(p.relative_to(root).parts)]
    texts = (path.read_text("utf8", errors="ignore") for path in paths[:files])
    return [re.findall(r"[A-Za-z_]\w+", text) for text in texts]


def row(word: str, rows: int) -> int:
    return zlib.crc32(word.encode()) % rows


def neighbours(texts: list[list[str]], count: Counter[str], rows: int) -> np.ndarray:
    """Pairs of rows of words that stand within `WINDOW` of each other, int32 (pairs, 2)."""
    rng = np.random.default_rng(0)
    total = count.total()
    # Frequent words say little about their neighbours: as in word2vec they are mostly left out.
    kept = {word: min(1.0, (1e-4 * total / n) ** 0.5) for word, n in count.items()}
    pairs = []
    for words in texts:
        draws = rng.random(len(words))
        line = np.array([row(w, rows) for w, x in zip(words, draws) if x < kept[w]], "int32")
        for distance in range(1, WINDOW + 1):
            pairs += [
                np.stack([line[:-distance], line[distance:]], axis=1),
                np.stack([line[distance:], line[:-distance]], axis=1),
            ]
    return np.concatenate(pairs)


def questions(pairs: np.ndarray, number: int, seed: int) -> tuple[list[np.ndarray], np.ndarray]:
    """Questions and their answers.

    Returns:
        The rows of words, int32 (number,), and of candidates, int32 (number, 1 + NEGATIVES), of
        which the first is a neighbour; and 1 or 0 for each candidate, float32.
    """
    rng = np.random.default_rng(seed)
    chosen = pairs[rng.integers(0, len(pairs), number)]
    # Any word of any pair: as often as it occurs.
    random = pairs[rng.integers(0, len(pairs), (number, NEGATIVES)), 1]
    candidates = np.concatenate([chosen[:, 1:], random], axis=1)
    answers = np.tile(np.eye(1, 1 + NEGATIVES, dtype="float32"), (number, 1))
    return [chosen[:, 0], candidates], answers


def skip_gram(rows: int, lazy: bool) -> keras.Model:
    """Rows of words (batch,) and of candidates (batch, k), to logits (batch, k)."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    word = keras.Input((), dtype="int32")
    candidates = keras.Input((1 + NEGATIVES,), dtype="int32")
    small = keras.initializers.RandomUniform(-0.5 / WIDTH, 0.5 / WIDTH)
    vectors = layers.Embedding(rows, WIDTH, embeddings_initializer=small, name="words")
    others = layers.Embedding(rows, WIDTH, embeddings_initializer="zeros", name="candidates")
    logits = layers.Dot(axes=(2, 1))([others(candidates), vectors(word)])
    model = keras.Model([word, candidates], logits)
    model.compile(optimizers.Adam(3e-3, lazy=lazy), losses.BinaryCrossentropy(from_logits=True))
    return model


def vectors(model: keras.Model) -> np.ndarray:
    return model.get_layer("words").get_weights()[0]


def compare(pairs: np.ndarray, rows: int, updates: int) -> dict[bool, tuple[float, int, int]]:
    """Train lazily and exactly with a table of that many rows, in turn.

    Returns:
        For `lazy` True and False: the median time of an update in milliseconds; how many rows of
        the words' table the last one changed; and how many its batch named.
    """
    models = {lazy: skip_gram(rows, lazy) for lazy in (True, False)}
    times: dict[bool, list[float]] = {lazy: [] for lazy in models}
    found = {}
    for update in range(updates):
        inputs, answers = questions(pairs % rows, BATCH, seed=update)
        for lazy, model in models.items():
            before = vectors(model) if update == updates - 1 else None
            start = time.perf_counter()
            model.train_on_batch(inputs, answers)
            times[lazy].append(1000 * (time.perf_counter() - start))
            if before is not None:
                changed = int((vectors(model) != before).any(axis=1).sum())
                # The first update compiles.
                median = float(np.median(times[lazy][1:]))
                found[lazy] = median, changed, len(np.unique(inputs[0]))
    return found


def likeness(model: keras.Model, words: list[str]) -> np.ndarray:
    """Cosines between the vectors of words, (n, n)."""
    table = vectors(model)
    chosen = table[[row(word, len(table)) for word in words]]
    chosen = chosen / np.linalg.norm(chosen, axis=1, keepdims=True)
    return chosen @ chosen.T


def main(arguments: list[str] | None = None) -> int:
    this = lesson.begin(__doc__, arguments, images=False)
    rows = 2**14 if this.quick else 2**18
    texts = library(files=20 if this.quick else None)
    count = Counter(word for words in texts for word in words)
    pairs = neighbours(texts, count, rows)
    print(
        f"{len(texts)} files of the library, {count.total():,} words, {len(count):,} different "
        f"ones; {len(pairs):,} pairs of neighbours."
    )

    print("\nAn update of Adam, with two tables of so many rows:")
    print(f"{'rows':>11}{'lazy':>11}{'exact':>11}{'ratio':>8}   rows changed: lazy, exact, named")
    costs = {}
    for size in (2**12, 2**14) if this.quick else (2**14, 2**16, 2**18, 2**20):
        found = costs[size] = compare(pairs, size, updates=5 if this.quick else 30)
        (fast, few, named), (slow, many, _) = found[True], found[False]
        print(
            f"{size:>11,}{fast:>8.1f} ms{slow:>8.1f} ms{slow / fast:>8.1f}"
            f"{few:>17,}{many:>9,}{named:>9,}"
        )
    if keras.backend.backend() != "tensorflow":
        print("Here the gradient of an Embedding is as large as the table: lazy is exact.")

    model = skip_gram(rows, lazy=True)
    print("\nTrained with lazy=True. Binary cross-entropy, and rows that have moved by now:")
    start = vectors(model)
    for part in range(1 if this.quick else 12):
        inputs, answers = questions(pairs, (50 if this.quick else 1_000) * BATCH, seed=part)
        history = model.fit(inputs, answers, batch_size=BATCH, shuffle=False, verbose=0).history
        seen = int((vectors(model) != start).any(axis=1).sum())
        print(f"{history['loss'][0]:>9.3f}{seen:>10,} of {rows:,}", flush=True)

    known = [word for word, n in count.most_common() if n >= 25]
    alike = likeness(model, known)
    print("\nThe nearest words:")
    for word in (group[0] for group in GROUPS if group[0] in known):
        nearest = (known[i] for i in np.argsort(-alike[known.index(word)]))
        # Nor those whose hash is the same: they share the row.
        others = [other for other in nearest if row(other, rows) != row(word, rows)]
        print(f"  {word:>12}: {', '.join(others[:6])}")

    words = [word for group in GROUPS for word in group]
    this.save(draw(words, likeness(model, words), costs), "embeddings")
    return this.end()


def draw(words: list[str], alike: np.ndarray, costs: dict[int, dict]):
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(style.WIDTH, 5.4), width_ratios=[1.5, 1])
    image = left.imshow(alike, cmap="RdBu_r", vmin=-1, vmax=1)
    left.set_xticks(range(len(words)), words, rotation=90)
    left.set_yticks(range(len(words)), words)
    left.tick_params(labelsize=7.5, length=0)
    left.grid(False)
    for edge in range(4, len(words), 4):
        left.axhline(edge - 0.5, color="white", linewidth=1.5)
        left.axvline(edge - 0.5, color="white", linewidth=1.5)
    left.set_title("What stands beside the same words is alike")
    figure.colorbar(image, ax=left, label="cosine of two vectors", shrink=0.6)

    look = style.OPTIMIZERS["Adam"]
    sizes = list(costs)
    for lazy, marker, dashes in ((True, "o", "-"), (False, "s", "--")):
        line = [costs[size][lazy][0] for size in sizes]
        label = "Adam(lazy=True)" if lazy else "Adam()"
        right.loglog(sizes, line, color=look.colour, marker=marker, linestyle=dashes, label=label)
    right.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=90)
    right.set_xticks([], minor=True)
    right.set(title="What an update costs", xlabel="rows of each table", ylabel="milliseconds")
    right.legend(loc="upper left", handlelength=4)
    right.set_ylim(None, 3 * right.get_ylim()[1])
    return figure


if __name__ == "__main__":
    sys.exit(main())

# What it printed, on two cores of a CPU:
#
#     Keras 3.15.1 on tensorflow.
#     552 files of the library, 1,004,602 words, 45,355 different ones; 4,052,696 pairs of
#       neighbours.
#
#     An update of Adam, with two tables of so many rows:
#            rows       lazy      exact   ratio   rows changed: lazy, exact, named
#          16,384     6.1 ms     8.2 ms     1.3              883    8,158      883
#          65,536     5.5 ms    16.8 ms     3.0              901   10,286      901
#         262,144     6.0 ms    38.5 ms     6.4              908   10,948      908
#       1,048,576     5.1 ms   195.2 ms    38.6              908   10,948      908
#
#     Trained with lazy=True. Binary cross-entropy, and rows that have moved by now:
#         0.562    40,038 of 262,144
#         0.461    41,529 of 262,144
#         0.411    41,697 of 262,144
#         0.378    41,724 of 262,144
#         0.355    41,730 of 262,144
#         0.339    41,731 of 262,144
#         0.327    41,731 of 262,144
#         0.317    41,731 of 262,144
#         0.309    41,731 of 262,144
#         0.303    41,731 of 262,144
#         0.297    41,731 of 262,144
#         0.292    41,731 of 262,144
#
#     The nearest words:
#                int: integer, float, signed, unsigned, found_dict, db8
#               list: Each, items, stored, pairs, values, order
#             append: join, in, get_cfws, elif, if, mime_version
#          TypeError: raise, must, str, isinstance, cannot, be
#               read: read1, readinto, BufferedReader, DEFAULT_BUFFER_SIZE, buffer_size, seek
#             socket: SOCK_STREAM, AF_UNIX, connected, setblocking, AF_INET, socktype
#               year: month, week, day, weekday, firstweekday, days
#              lower: failobj, unquote, _headers, mm, Does, _flavour
