"""Kept weights by the gaps between them: the relative index of section 5 and Golomb-Rice codes, in whole arrays.

A gap is the number of zeros before a kept weight, counted from the kept weight before it. A weight is kept where its
bits are not those of +0, so that -0 and NaN survive. Bits fill each byte from the lowest.
"""

from collections.abc import Iterator

import numpy as np

CHUNK = 1 << 16  # weights or codes at a time: what a step works on stays in the processor's cache
LONGEST = 24  # the largest parameter of Rice codes


def gaps(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The gaps (K,) and the kept words (K,) of the bit patterns `words`, 1-d signed integers."""
    kept = np.count_nonzero(words)
    distances = np.empty(kept, np.int32 if words.size < 2**31 else np.int64)
    values, done, last = np.empty(kept, words.dtype), 0, -1
    for start in range(0, words.size, CHUNK):
        part = words[start : start + CHUNK]
        places = np.flatnonzero(part != 0)
        if places.size:
            end = done + places.size
            np.take(part, places, out=values[done:end], mode="clip")  # no place to clip; "raise" would copy `values`
            distances[done] = start + places[0] - last - 1
            distances[done + 1 : end] = np.diff(places) - 1
            done, last = end, start + places[-1]
    return distances, values


def spill(distances: np.ndarray) -> list[int]:
    """Sums of the gaps >> b for b = 0 to LONGEST: the fillers at index width b, the unary zeros at Rice parameter b."""
    sums = np.zeros(LONGEST + 1, np.int64)
    for start in range(0, distances.size, CHUNK):
        part = distances[start : start + CHUNK]
        for b in range(LONGEST + 1):
            if not part.size:
                break
            sums[b] += part.sum(dtype=np.int64)
            part = part >> 1
            part = part[part > 0] if b % 2 else part  # fewer and fewer are left
    return sums.tolist()


def _places(distances: np.ndarray, width: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Where each kept weight stands in a stream that has gap >> width other entries before it, chunk by chunk."""
    done = 0
    for start in range(0, distances.size, CHUNK):
        part = slice(start, min(start + CHUNK, distances.size))
        steps = (distances[part] >> width).astype(np.int64) + 1
        steps[0] += done - 1
        places = np.cumsum(steps, out=steps)
        yield part, places
        done = int(places[-1]) + 1


class Relative:
    """The paper's format: each gap in `width` bits, longer ones over fillers, entries with the largest gap and a 0."""

    WIDTHS = range(1, 17)

    @staticmethod
    def index_bytes(kept: int, spilled: int, width: int) -> int:
        """Bytes of the index; spilled: `spill` at the width."""
        return packed_bytes(kept + spilled, width)

    @staticmethod
    def encode(distances: np.ndarray, kept: np.ndarray, width: int, spilled: int) -> tuple[np.ndarray, np.ndarray]:
        """The index (uint8) and the stored values, fillers among them, from what `gaps` returns."""
        largest = (1 << width) - 1
        codes = np.full(kept.size + spilled, largest, np.uint8 if width <= 8 else np.uint16)
        values = np.zeros(codes.size, kept.dtype)
        for part, places in _places(distances, width):
            codes[places] = distances[part] & largest
            values[places] = kept[part]
        return pack(codes, width), values

    @staticmethod
    def positions(index: np.ndarray, count: int, width: int) -> Iterator[np.ndarray]:
        """Positions of the `count` stored values, increasing, chunk by chunk."""
        codes, last = unpack(index, count, width), -1
        for start in range(0, count, CHUNK):
            steps = codes[start : start + CHUNK].astype(np.int64) + 1
            steps[0] += last
            yield np.cumsum(steps, out=steps)
            last = int(steps[-1])


class Rice:
    """Golomb-Rice codes: the lowest `width` bits of every gap, then each gap >> width in unary. No fillers.

    The best parameter is within 4.3 % of the entropy H(d)/d on uniform masks of every density d up to 0.5, where the
    unary part alone is a bitmap of one bit per weight.
    """

    WIDTHS = range(0, LONGEST + 1)

    @staticmethod
    def index_bytes(kept: int, spilled: int, width: int) -> int:
        """Bytes of the index."""
        return packed_bytes(kept, width) + packed_bytes(kept + spilled, 1)

    @staticmethod
    def encode(distances: np.ndarray, kept: np.ndarray, width: int, spilled: int) -> tuple[np.ndarray, np.ndarray]:
        """The index (uint8) and the stored values from what `gaps` returns."""
        ones = np.zeros(kept.size + spilled, np.uint8)  # ours: low and unary parts apart, so that both decode in arrays
        for _, places in _places(distances, width):
            ones[places] = 1
        low = pack(distances & ((1 << width) - 1), width)
        return np.concatenate([low, np.packbits(ones, bitorder="little")]), kept

    @staticmethod
    def positions(index: np.ndarray, count: int, width: int) -> Iterator[np.ndarray]:
        """Positions of the `count` stored values, increasing, chunk by chunk.

        Raises ValueError where the unary part does not hold `count` gaps.
        """
        split = packed_bytes(count, width)
        low, unary, done, last = unpack(index[:split], count, width), index[split:], 0, -1
        for start in range(0, unary.size, CHUNK // 8):
            ones = (
                np.flatnonzero(np.unpackbits(unary[start : start + CHUNK // 8], bitorder="little").view(bool))
                + 8 * start
            )
            if not ones.size:
                continue
            quotients = ones - np.arange(done, done + ones.size)  # summed over all gaps so far
            if done + ones.size > count:
                raise ValueError("its gaps are more than its values")
            steps = low[done : done + ones.size].astype(np.int64) + 1
            steps[0] += last
            last = int(np.cumsum(steps, out=steps)[-1])
            done += ones.size
            yield steps + (quotients << width)
        if done != count:
            raise ValueError("its gaps are not as many as its values")


CODINGS = {"relative": Relative, "rice": Rice}


def stored_bytes(coding: type, kept: int, spilled: int, width: int, itemsize: int) -> int:
    """Bytes of the index and the values, fillers among them; spilled: `spill` at the width."""
    fillers = spilled if coding is Relative else 0
    values = kept + fillers  # paper: section 5 counts an index for each value; fillers are values that are 0
    return coding.index_bytes(kept, spilled, width) + itemsize * values


def cheapest(coding: type, kept: int, spilled: list[int], itemsize: int) -> int:
    """The index width with the fewest bytes for `kept` values of `itemsize` bytes; spilled: as `spill` returns it."""
    return min(coding.WIDTHS, key=lambda width: stored_bytes(coding, kept, spilled[width], width, itemsize))


def scatter(coding: type, index: np.ndarray, values: np.ndarray, width: int, out: np.ndarray) -> None:
    """Put `values` where `index` says into the zeros `out`, 1-d; raises ValueError where it points beyond the end."""
    done = 0
    for places in coding.positions(index, values.size, width):
        if places[-1] >= out.size:
            raise ValueError("its gaps do not fit the shape")
        out[places] = values[done : done + places.size]
        done += places.size


def packed_bytes(count: int, width: int) -> int:
    """Bytes of `count` codes of `width` bits."""
    return -(-count * width // 8)


def pack(codes: np.ndarray, width: int) -> np.ndarray:
    """`codes`, 1-d integers from 0 to 2**width - 1, in `width` bits each, as uint8 (packed_bytes,)."""
    if width > 8:  # all low bytes first, then what is above them
        return np.concatenate([(codes & 0xFF).astype(np.uint8), pack(codes >> 8, width - 8)])
    words = np.zeros(-(-codes.size // 8), "<u8")
    words.view(np.uint8)[: codes.size] = codes
    for lane in (8, 16, 32):  # neighbours close up: bytes to pairs, pairs to fours, fours to eight
        low = _repeated((1 << lane) - 1, 2 * lane)
        words = words & low | (words & ~low) >> np.uint64(lane - lane * width // 8)
    used = np.ascontiguousarray(words.view(np.uint8).reshape(-1, 8)[:, :width])
    return used.reshape(-1)[: packed_bytes(codes.size, width)]


def unpack(packed: np.ndarray, count: int, width: int) -> np.ndarray:
    """The `count` codes, unsigned integers, that `pack` packed; packed: uint8 (packed_bytes,)."""
    if width > 8:
        low, high = packed[:count], unpack(packed[count:], count, width - 8)
        return low | high.astype(np.uint16 if width <= 16 else np.uint32) << 8
    padded = np.zeros(-(-count // 8) * width + 8, np.uint8)
    padded[: packed.size] = packed
    words = np.ndarray(
        (-(-count // 8),), "<u8", padded, strides=(width,)
    ).copy()  # eight codes begin every `width` bytes
    for lane in (32, 16, 8):
        bits = lane * width // 8
        low, high = _repeated((1 << bits) - 1, 2 * lane), _repeated(((1 << bits) - 1) << bits, 2 * lane)
        words = words & low | (words & high) << np.uint64(lane - bits)
    return words.view(np.uint8)[:count]


def _repeated(pattern: int, bits: int) -> np.uint64:
    """`pattern` every `bits` bits of a word."""
    return np.uint64(sum(pattern << start for start in range(0, 64, bits)))
