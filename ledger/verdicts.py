"""The verdicts on replies: one reason code each, the same for the server and for the audit."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a reply was accepted or rejected. The text of :data:`EXPLANATIONS` says it to a person."""

    ACCEPTED = "accepted"
    NO_REPLY = "no-reply"
    CLIENT_ERROR = "client-error"
    DUPLICATE = "duplicate"
    MALFORMED = "malformed"
    BAD_SIGNATURE = "bad-signature"
    WRONG_CLIENT = "wrong-client"
    WRONG_RUN = "wrong-run"
    WRONG_ROUND = "wrong-round"
    STALE_MODEL = "stale-model"
    WRONG_BATCH = "wrong-batch"
    WRONG_SAMPLES = "wrong-samples"
    WRONG_TYPE = "wrong-type"
    WRONG_SHAPE = "wrong-shape"
    OUT_OF_RANGE = "out-of-range"
    ABOVE_NORM = "above-norm"
    EVIDENCE_MISMATCH = "evidence-mismatch"
    BAD_ENCODING = "bad-encoding"
    COMMITMENT_MISMATCH = "commitment-mismatch"
    NO_PROOF = "no-proof"
    BAD_PROOF = "bad-proof"
    WITHHELD = "withheld"


EXPLANATIONS: dict[Reason, str] = {
    Reason.ACCEPTED: "every check passed",
    Reason.NO_REPLY: "no reply within the agreed time",
    Reason.CLIENT_ERROR: "the client's program reported an error instead of an update",
    Reason.DUPLICATE: "several different replies from one client",
    Reason.MALFORMED: "the reply lacks a part, its parts contradict each other, or its statement cannot be read",
    Reason.BAD_SIGNATURE: "the statement is not signed by the client it names",
    Reason.WRONG_CLIENT: "the statement names another client than the one that was asked",
    Reason.WRONG_RUN: "the statement belongs to another run",
    Reason.WRONG_ROUND: "the statement belongs to another round",
    Reason.STALE_MODEL: "the statement starts from another model than this round's",
    Reason.WRONG_BATCH: "the statement names another batch than the beacon chose",
    Reason.WRONG_SAMPLES: "the stated number of samples is not the enrolled one",
    Reason.WRONG_TYPE: "the update is not made of 64-bit integers",
    Reason.WRONG_SHAPE: "the update does not have the model's shape",
    Reason.OUT_OF_RANGE: "the updated model leaves the agreed range of weights",
    Reason.ABOVE_NORM: "the update is longer than the agreed maximum-update-norm",
    Reason.EVIDENCE_MISMATCH: "a part of the reply is not the one whose digest was signed",
    Reason.BAD_ENCODING: "commitment or blinds are not canonical encodings of the right length",
    Reason.COMMITMENT_MISMATCH: "the commitment does not open to the update",
    Reason.NO_PROOF: "the agreement asks for a proof of training, and there is none",
    Reason.BAD_PROOF: "the proof of training does not verify: the update is not the agreed training on the enrolled data",
    Reason.WITHHELD: "the client kept back its nonce when it was to be chosen who must prove",
}

# Verdicts that an audit derives again from the signed statement alone …
FROM_STATEMENT = frozenset(
    {
        Reason.WRONG_CLIENT,
        Reason.BAD_SIGNATURE,
        Reason.WRONG_RUN,
        Reason.WRONG_ROUND,
        Reason.STALE_MODEL,
        Reason.WRONG_BATCH,
        Reason.WRONG_SAMPLES,
    }
)
# … and those for which update, commitment and blinds are kept as evidence. The others are about something that was not there, or could
# not be kept: for these an audit has the server's word.
KEPT = frozenset(
    {
        Reason.ACCEPTED,
        Reason.OUT_OF_RANGE,
        Reason.ABOVE_NORM,
        Reason.BAD_ENCODING,
        Reason.COMMITMENT_MISMATCH,
        Reason.NO_PROOF,
        Reason.BAD_PROOF,
        Reason.WITHHELD,
    }
)
