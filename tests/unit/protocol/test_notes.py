"""Signed notes: as C2SP has them, and refused when anything is changed."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ec2map_sync.protocol.notes import BadNote, Note, key_id, sign
from ec2map_sync.protocol.signing import PublicKey, SigningKey

# The example of golang.org/x/mod/sumdb/note, which the format comes from.
PETER = "PeterNeumann"
PETERS_KEY = "ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETERS_TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETERS_NOTE = (
    f"{PETERS_TEXT}\n— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngo"
    "tpRZb6KE6RyyBwJnAM=\n"
)


def peter():
    raw = base64.b64decode(PETERS_KEY)[1:]
    return PublicKey("ed25519:" + base64.b64encode(raw).decode())


def test_a_note_that_others_have_signed_is_read():
    note = Note.parse(PETERS_NOTE.encode())

    assert note.text == PETERS_TEXT
    assert note.signers([(PETER, peter())]) == {PETER}
    assert str(note) == PETERS_NOTE


def test_a_key_has_the_id_that_others_give_it():
    assert key_id(PETER, peter()).hex() == "c74f20a3"


def test_every_changed_byte_is_noticed():
    whole = PETERS_NOTE.encode()
    for at in range(len(whole)):
        data = bytearray(whole)
        data[at] ^= 1
        try:
            signers = Note.parse(bytes(data)).signers([(PETER, peter())])
        except BadNote:
            continue
        assert not signers


@pytest.fixture
def keys():
    return {name: SigningKey.generate() for name in ("R1", "R2", "R3")}


def public(keys):
    return [(name, PublicKey(key.public)) for name, key in keys.items()]


@pytest.mark.parametrize("text", ["a\n", "a\n\nb\n", "é\n", "\n— R1 AAAA\n"])
def test_all_who_sign_are_found_and_others_passed_over(keys, text):
    signatures = tuple(sign(text, n, k) for n, k in keys.items())
    note = Note.parse(str(Note(text=text, signatures=signatures)).encode())
    stranger = SigningKey.generate()

    assert note.text == text
    assert note.signers(public(keys)) == keys.keys()
    assert note.signers([("R2", PublicKey(keys["R2"].public))]) == {"R2"}
    assert note.signers([("R2", PublicKey(stranger.public))]) == set()
    assert note.signers([("R9", PublicKey(keys["R2"].public))]) == set()


def test_a_signature_of_another_text_spoils_a_note(keys):
    signatures = (sign("a\n", "R1", keys["R1"]), sign("b\n", "R2", keys["R2"]))
    note = Note(text="a\n", signatures=signatures)

    with pytest.raises(BadNote, match="R2 is not of this text"):
        note.signers(public(keys))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"\n\n",
        b"text\n",
        b"text\n\n",
        b"text\n\nno signature\n",
        b"text\n\n\xe2\x80\x94 R1 AAAA\n",
        b"text\n\n\xe2\x80\x94 R1 ====\n",
        b"text\n\n\xe2\x80\x94 R+1 AAAAAAAAAAAA\n",
        b"text\n\n\xe2\x80\x94 R1 AAAAAAAAAAAA",
        b"te\x00xt\n\n\xe2\x80\x94 R1 AAAAAAAAAAAA\n",
        b"text\r\n\n\xe2\x80\x94 R1 AAAAAAAAAAAA\n",
        b"te\xffxt\n\n\xe2\x80\x94 R1 AAAAAAAAAAAA\n",
        b"text\n\n- R1 AAAAAAAAAAAA\n",
    ],
)
def test_what_is_no_note_is_refused(data):
    with pytest.raises(BadNote):
        Note.parse(data)


def test_a_key_signs_no_note_when_it_signs_a_message():
    """A message's bytes begin with a length, which no note may hold."""
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
    with pytest.raises(BadNote):
        Note.parse(
            b"\0\0\0\0\0\0\0\x011text\n\n"
            + str(sign("text\n", "R1", key)).encode()
        )
