"""JPEG lossless (T.81 annex H) and JPEG-LS (T.87) encoders for tests: grey, 2 to 16 bits.

Written from the standards, slow and plain, so that compressed DICOM files of every bit depth can
be made without a codec library. A decoder that reads them back exactly confirms both sides.
"""

from __future__ import annotations

import struct
from math import ceil, log2

import numpy as np
from numpy.typing import NDArray

_J = (0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 9, 10, 11, 12, 13)
_J += (14, 15)


class _Bits:
    """Bit writer with the stuffing rule of either standard."""

    def __init__(self, *, jpeg_ls: bool) -> None:
        self.jpeg_ls = jpeg_ls
        self.out = bytearray()
        self.current, self.free = 0, 8

    def put(self, value: int, count: int) -> None:
        for shift in range(count - 1, -1, -1):
            self.free -= 1
            self.current |= ((value >> shift) & 1) << self.free
            if self.free == 0:
                self._flush()

    def _flush(self) -> None:
        self.out.append(self.current)
        stuffed = self.current == 0xFF
        self.current, self.free = 0, 8
        if stuffed and self.jpeg_ls:
            self.free = 7  # T.87: a zero bit follows 0xFF
        elif stuffed:
            self.out.append(0)  # T.81: a zero byte follows 0xFF

    def finish(self) -> bytes:
        if self.jpeg_ls:
            if self.free < 8:
                self._flush()
            if self.free == 7:
                self.out.append(0)
        else:
            while self.free < 8:
                self.put(1, 1)
        return bytes(self.out)


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg_lossless(samples: NDArray[np.integer], precision: int, predictor: int = 1) -> bytes:
    """Process 14 code stream of unsigned [H, W]; `predictor` is the selection value, 1 to 7."""
    height, width = samples.shape
    x = samples.astype(np.int64).tolist()
    bits = _Bits(jpeg_ls=False)
    for r in range(height):
        for c in range(width):
            if r == 0:
                guess = x[0][c - 1] if c else 1 << (precision - 1)
            elif c == 0:
                guess = x[r - 1][0]
            else:
                guess = _predict(predictor, x[r][c - 1], x[r - 1][c], x[r - 1][c - 1])
            _put_difference(bits, (x[r][c] - guess) & 0xFFFF)
    lengths = bytes([0, 0, 0, 0, 17, *[0] * 11])  # 17 categories, all codes 5 bits long
    return b"".join(
        [
            b"\xff\xd8",
            _segment(0xC3, struct.pack(">BHHBBBB", precision, height, width, 1, 1, 0x11, 0)),
            _segment(0xC4, b"\x00" + lengths + bytes(range(17))),
            _segment(0xDA, bytes([1, 1, 0x00, predictor, 0, 0])),
            bits.finish(),
            b"\xff\xd9",
        ]
    )


def _predict(selection: int, left: int, above: int, corner: int) -> int:
    return {
        1: left,
        2: above,
        3: corner,
        4: left + above - corner,
        5: left + ((above - corner) >> 1),
        6: above + ((left - corner) >> 1),
        7: (left + above) >> 1,
    }[selection]


def _put_difference(bits: _Bits, difference: int) -> None:
    """Category (Huffman code of 5 bits), then the low bits of the difference modulo 2^16."""
    signed = difference - 65536 if difference > 32768 else difference
    category = abs(signed).bit_length()
    bits.put(category, 5)
    if category < 16:
        bits.put(signed if signed > 0 else signed + (1 << category) - 1, category)


def jpeg_ls(samples: NDArray[np.integer], precision: int, near: int = 0) -> bytes:
    """JPEG-LS code stream of unsigned [H, W]; `near` is the largest error of a sample."""
    height, width = samples.shape
    coder = _JpegLs(precision, near)
    frame = struct.pack(">BHHBBBB", precision, height, width, 1, 1, 0x11, 0)
    scan = bytes([1, 1, 0, near, 0, 0])
    data = coder.encode(samples.astype(np.int64).tolist())
    return b"\xff\xd8" + _segment(0xF7, frame) + _segment(0xDA, scan) + data + b"\xff\xd9"


class _JpegLs:
    """State of one scan (T.87 annex A; names as there)."""

    def __init__(self, precision: int, near: int) -> None:
        self.maxval, self.near = (1 << precision) - 1, near
        self.t = self._thresholds()
        self.range = (self.maxval + 2 * near) // (2 * near + 1) + 1
        self.qbpp = ceil(log2(self.range))
        bpp = max(2, precision)
        self.limit = 2 * (bpp + max(8, bpp))
        start = max(2, (self.range + 32) // 64)
        self.A = dict.fromkeys(range(-364, 367), start)
        self.B = dict.fromkeys(range(-364, 367), 0)
        self.C = dict.fromkeys(range(-364, 367), 0)
        self.N = dict.fromkeys(range(-364, 367), 1)
        self.Nn = {365: 0, 366: 0}
        self.run_index = 0
        self.bits = _Bits(jpeg_ls=True)

    def _thresholds(self) -> tuple[int, int, int]:
        def clamp(value: int, low: int) -> int:
            return low if value > self.maxval or value < low else value

        near, maxval = self.near, self.maxval
        if maxval >= 128:
            f = (min(maxval, 4095) + 128) // 256
            t1 = clamp(f + 2 + 3 * near, near + 1)
            t2 = clamp(f * 4 + 3 + 5 * near, t1)
            return t1, t2, clamp(f * 17 + 4 + 7 * near, t2)
        f = 256 // (maxval + 1)
        t1 = clamp(max(2, 3 // f + 3 * near), near + 1)
        t2 = clamp(max(3, 7 // f + 5 * near), t1)
        return t1, t2, clamp(max(4, 21 // f + 7 * near), t2)

    def encode(self, x: list[list[int]]) -> bytes:
        width = len(x[0])
        above, corner_start = [0] * width, 0
        for line in x:
            done = [0] * width  # reconstructed samples
            c = 0
            while c < width:
                b = above[c]
                a = done[c - 1] if c else above[0]
                corner = above[c - 1] if c else corner_start
                d = above[c + 1] if c + 1 < width else b
                gradients = (d - b, b - corner, corner - a)
                if all(abs(g) <= self.near for g in gradients):
                    c = self._run(line, done, above, c, a)
                else:
                    done[c] = self._regular(line[c], a, b, corner, gradients)
                    c += 1
            corner_start, above = above[0], done
        return self.bits.finish()

    def _quantise(self, g: int) -> int:
        t1, t2, t3 = self.t
        size = abs(g)
        level = sum(size >= t for t in (self.near + 1, t1, t2, t3))
        return level if g > 0 else -level

    def _regular(self, ix: int, a: int, b: int, corner: int, gradients: tuple[int, ...]) -> int:
        q1, q2, q3 = (self._quantise(g) for g in gradients)
        q, sign = 81 * q1 + 9 * q2 + q3, 1
        if q < 0:
            q, sign = -q, -1
        px = (
            min(a, b)
            if corner >= max(a, b)
            else max(a, b)
            if corner <= min(a, b)
            else a + b - corner
        )
        px = min(max(px + sign * self.C[q], 0), self.maxval)
        error, rx = self._error(ix, px, sign)
        k = self._k(self.N[q], self.A[q])
        if self.near == 0 and k == 0 and 2 * self.B[q] <= -self.N[q]:
            mapped = 2 * error + 1 if error >= 0 else -2 * (error + 1)
        else:
            mapped = 2 * error if error >= 0 else -2 * error - 1
        self._golomb(mapped, k, self.limit)
        self._update(q, error)
        return rx

    def _error(self, ix: int, px: int, sign: int) -> tuple[int, int]:
        """Quantised prediction error modulo the range, and the reconstructed sample."""
        step = 2 * self.near + 1
        error = sign * (ix - px)
        error = (error + self.near) // step if error > 0 else -((self.near - error) // step)
        rx = min(max(px + sign * error * step, 0), self.maxval)
        if error < 0:
            error += self.range
        if error >= (self.range + 1) // 2:
            error -= self.range
        return error, rx

    @staticmethod
    def _k(n: int, a: int) -> int:
        k = 0
        while n << k < a:
            k += 1
        return k

    def _golomb(self, value: int, k: int, limit: int) -> None:
        high = value >> k
        if high < limit - self.qbpp - 1:
            self.bits.put(0, high)
            self.bits.put(1, 1)
            self.bits.put(value & ((1 << k) - 1), k)
        else:
            self.bits.put(0, limit - self.qbpp - 1)
            self.bits.put(1, 1)
            self.bits.put(value - 1, self.qbpp)

    def _update(self, q: int, error: int) -> None:
        self.B[q] += error * (2 * self.near + 1)
        self.A[q] += abs(error)
        if self.N[q] == 64:
            self.A[q] >>= 1
            self.B[q] >>= 1
            self.N[q] >>= 1
        self.N[q] += 1
        if self.B[q] <= -self.N[q]:
            self.B[q] = max(self.B[q] + self.N[q], -self.N[q] + 1)
            self.C[q] = max(self.C[q] - 1, -128)
        elif self.B[q] > 0:
            self.B[q] = min(self.B[q] - self.N[q], 0)
            self.C[q] = min(self.C[q] + 1, 127)

    def _run(self, line: list[int], done: list[int], above: list[int], c: int, a: int) -> int:
        """A run of samples equal to `a`, and the sample that ends it; returns the next column."""
        width, count = len(line), 0
        while c < width and abs(line[c] - a) <= self.near:
            done[c] = a
            c, count = c + 1, count + 1
        while count >= 1 << _J[self.run_index]:
            self.bits.put(1, 1)
            count -= 1 << _J[self.run_index]
            self.run_index = min(self.run_index + 1, 31)
        if c == width:
            if count:
                self.bits.put(1, 1)
            return c
        self.bits.put(0, 1)
        self.bits.put(count, _J[self.run_index])
        done[c] = self._interruption(line[c], a, above[c], self.limit - _J[self.run_index] - 1)
        self.run_index = max(self.run_index - 1, 0)
        return c + 1

    def _interruption(self, ix: int, a: int, b: int, limit: int) -> int:
        kind = int(abs(a - b) <= self.near)
        px, sign = (a if kind else b), (-1 if not kind and a > b else 1)
        error, rx = self._error(ix, px, sign)
        q = 365 + kind
        k = self._k(self.N[q], self.A[q] + ((self.N[q] >> 1) if kind else 0))
        negatives_lead = 2 * self.Nn[q] >= self.N[q]
        flag = (
            (k == 0 and error > 0 and not negatives_lead)
            or (error < 0 and negatives_lead)
            or (error < 0 and k != 0)
        )
        mapped = 2 * abs(error) - kind - int(flag)
        self._golomb(mapped, k, limit)
        if error < 0:
            self.Nn[q] += 1
        self.A[q] += (mapped + 1 - kind) >> 1
        if self.N[q] == 64:
            self.A[q] >>= 1
            self.N[q] >>= 1
            self.Nn[q] >>= 1
        self.N[q] += 1
        return rx
