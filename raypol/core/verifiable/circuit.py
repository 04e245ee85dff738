"""The circuit of one step as text of circom 2, the exact number of its constraints, and the memory that it will take.

Public values are three hashes: of W, of the batch, of W'. There are no hints: W' is an input of the prover, and the remainder is
what is left, X^T (X W - 16 2^16 Y) - 2^R (W - W'), which must have R bits. As integers both sides stay below the bound of
`ModelShape.largest_sum` < 2^62, far below half the field, so nothing wraps around, and W' is the only value that fits: the floor.
Without the ranges of W, W', X and Y that would not follow; each has its check.
"""

import hashlib
from string import Template
from typing import Final

from raypol.core.verifiable.digests import (
    BATCH_TAG,
    CHAINED,
    WEIGHTS_TAG,
    WORD_BITS,
    batch_bits,
    num_rounds,
    num_words,
)
from raypol.core.verifiable.field import SCALAR_MODULUS
from raypol.core.verifiable.integer_model import (
    FRACTION_BITS,
    INPUT_BITS,
    LARGEST_INPUT,
    WEIGHT_BITS,
    Integers,
    ModelShape,
)
from raypol.core.verifiable.poseidon import FULL_ROUNDS, PARTIAL_ROUNDS

_SBOX: Final = 3
"""Constraints of x^5."""
_MEMORY_BASE: Final = 4.4e8
"""Bytes: circom's compiler, for the most part."""
_MEMORY_EACH: Final = 2.5e3
_TEXT: Final = Template("""\
pragma circom 2.0.0;
include "bitify.circom";
include "poseidon.circom";

// One step of SGD on a linear model: $features features, $classes classes, batch of $batch, learning rate 2^-$lr_shift.

// Poseidon over n words, $chained at a time.
template Chain(n, tag) {
    signal input in[n];
    signal output out;
    var rounds = (n + $chained - 1) \\ $chained;
    component hash[rounds];
    for (var r = 0; r < rounds; r++) {
        hash[r] = Poseidon($chained + 1);
        if (r == 0) { hash[r].inputs[0] <== tag; } else { hash[r].inputs[0] <== hash[r-1].out; }
        for (var j = 0; j < $chained; j++) {
            if (r*$chained + j < n) { hash[r].inputs[j+1] <== in[r*$chained + j]; } else { hash[r].inputs[j+1] <== 0; }
        }
    }
    out <== hash[rounds-1].out;
}

// Weights in their range, packed and hashed.
template Weights() {
    signal input w[$weights];
    signal output out;
    component in_range[$weights];
    component chain = Chain($weight_words, $weights_tag);
    for (var i = 0; i < $weights; i++) {
        in_range[i] = Num2Bits($weight_bits);
        in_range[i].in <== w[i] + $half;
    }
    for (var k = 0; k < $weight_words; k++) {
        var word = 0;
        for (var j = 0; j < $per_word; j++) {
            if (k*$per_word + j < $weights) { word += (w[k*$per_word + j] + $half) * (1 << ($weight_bits*j)); }
        }
        chain.in[k] <== word;
    }
    out <== chain.out;
}

// Inputs of $input_bits bits, labels of one, packed and hashed.
template Batch() {
    signal input x[$inputs];
    signal input y[$labels];
    signal output out;
    component in_range[$inputs];
    signal bit[$batch_words * $word_bits];
    component chain = Chain($batch_words, $batch_tag);
    for (var i = 0; i < $inputs; i++) {
        in_range[i] = Num2Bits($input_bits);
        in_range[i].in <== x[i];
        for (var b = 0; b < $input_bits; b++) { bit[i*$input_bits + b] <== in_range[i].out[b]; }
    }
    for (var i = 0; i < $labels; i++) {
        y[i] * (y[i] - 1) === 0;
        bit[$inputs*$input_bits + i] <== y[i];
    }
    for (var i = $inputs*$input_bits + $labels; i < $batch_words*$word_bits; i++) { bit[i] <== 0; }
    for (var k = 0; k < $batch_words; k++) {
        var word = 0;
        for (var j = 0; j < $word_bits; j++) { word += bit[k*$word_bits + j] * (1 << j); }
        chain.in[k] <== word;
    }
    out <== chain.out;
}

template Step() {
    signal input w[$weights];
    signal input w_new[$weights];
    signal input x[$inputs];
    signal input y[$labels];
    signal output hash_old;
    signal output hash_batch;
    signal output hash_new;

    component old = Weights();
    component new = Weights();
    component batch = Batch();
    for (var i = 0; i < $weights; i++) { old.w[i] <== w[i]; new.w[i] <== w_new[i]; }
    for (var i = 0; i < $inputs; i++) { batch.x[i] <== x[i]; }
    for (var i = 0; i < $labels; i++) { batch.y[i] <== y[i]; }
    hash_old <== old.out;
    hash_batch <== batch.out;
    hash_new <== new.out;

    // The last product is part of the error's own constraint: a sum alone would be put in wherever the error is used, $features
    // times over, and keys and memory would grow with the entries.
    signal product[$batch][$classes][$features - 1];
    signal error[$batch][$classes];
    for (var m = 0; m < $batch; m++) {
        for (var c = 0; c < $classes; c++) {
            var sum = 0;
            for (var f = 0; f < $features - 1; f++) {
                product[m][c][f] <== x[m*$features + f] * w[f*$classes + c];
                sum += product[m][c][f];
            }
            var last = $features - 1;
            error[m][c] <== x[m*$features + last] * w[last*$classes + c] + sum - $unit * y[m*$classes + c];
        }
    }
    signal slope[$features][$classes][$batch];
    component remainder[$weights];
    for (var f = 0; f < $features; f++) {
        for (var c = 0; c < $classes; c++) {
            var sum = 0;
            for (var m = 0; m < $batch; m++) {
                slope[f][c][m] <== x[m*$features + f] * error[m][c];
                sum += slope[f][c][m];
            }
            remainder[f*$classes + c] = Num2Bits($remainder_bits);
            remainder[f*$classes + c].in <== sum - (w[f*$classes + c] - w_new[f*$classes + c]) * $divisor;
        }
    }
}

component main = Step();
""")


def circuit_text(shape: ModelShape) -> str:
    """The circuit of one step; `include`s are circomlib's."""
    assert WORD_BITS % WEIGHT_BITS == 0
    return _TEXT.substitute(
        features=shape.features,
        classes=shape.classes,
        batch=shape.batch_size,
        lr_shift=shape.lr_shift,
        chained=CHAINED,
        weights=shape.num_weights,
        weight_words=num_words(shape.num_weights * WEIGHT_BITS),
        weights_tag=WEIGHTS_TAG,
        weight_bits=WEIGHT_BITS,
        half=1 << (WEIGHT_BITS - 1),
        per_word=WORD_BITS // WEIGHT_BITS,
        input_bits=INPUT_BITS,
        inputs=shape.batch_size * shape.features,
        labels=shape.batch_size * shape.classes,
        batch_words=num_words(batch_bits(shape)),
        batch_tag=BATCH_TAG,
        word_bits=WORD_BITS,
        unit=LARGEST_INPUT << FRACTION_BITS,
        remainder_bits=shape.remainder_bits,
        divisor=1 << shape.remainder_bits,
    )


def circuit_sha256(shape: ModelShape) -> str:
    """Digest of the circuit's text, hex."""
    return hashlib.sha256(circuit_text(shape).encode()).hexdigest()


def key_digest(shape: ModelShape, verifying_key: bytes) -> str:
    """SHA-256 that binds a verifying key to the circuit which the verifier himself writes for a shape, hex."""
    return hashlib.sha256(bytes.fromhex(circuit_sha256(shape)) + verifying_key).hexdigest()


def num_constraints(shape: ModelShape) -> int:
    """Exact number of the circuit's rank-1 constraints: 2 B F C + B (5 F + C) + F C (40 + R) and three hashes.

    Two products per weight and point; a constraint per bit of inputs, labels, both weights and remainder.
    """
    products = 2 * shape.batch_size * shape.num_weights
    ranges = shape.num_weights * (2 * WEIGHT_BITS + shape.remainder_bits)
    weights, batch = num_words(shape.num_weights * WEIGHT_BITS), num_words(batch_bits(shape))
    return products + batch_bits(shape) + ranges + 2 * _hash_constraints(weights) + _hash_constraints(batch)


def _hash_constraints(words: int) -> int:
    """Of a chain: its S-boxes, but for those of the first round whose input is known: the capacity, the tag, the filling."""
    width, rounds = CHAINED + 2, num_rounds(words)
    boxes = rounds * (width * FULL_ROUNDS + PARTIAL_ROUNDS[width - 2])
    return _SBOX * (boxes - rounds - 1 - (rounds * CHAINED - words))


def memory_bytes(constraints: int) -> float:
    """Resident memory that set-up takes, the most of all: a line above all measured sizes (docs/vc/constraints.csv)."""
    return _MEMORY_BASE + _MEMORY_EACH * constraints


def circuit_inputs(weights: Integers, new: Integers, inputs: Integers, targets: Integers) -> dict[str, list[int]]:
    """The prover's signals: negative numbers as the scalars that stand for them."""
    arrays = {"w": weights, "w_new": new, "x": inputs, "y": targets}
    return {name: [value % SCALAR_MODULUS for value in array.reshape(-1).tolist()] for name, array in arrays.items()}
