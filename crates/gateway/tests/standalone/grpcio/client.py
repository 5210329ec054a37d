"""Calls the service at the address that is given, by Google's library, and says of each case whether it is `ok` or `bad`."""

import concurrent.futures
import hashlib
import queue
import sys
import time

import grpc

LARGE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
channel = grpc.insecure_channel(sys.argv[1], options=LARGE)
PATIENCE = 60
# What older editions of the library say is left where nobody set a limit.
# Seconds: what the library says of a call without a limit, which is the end of its clock less the time of now.
NEVER = 1e18


def unary(name):
    return channel.unary_unary("/test.Test/" + name)


def down(name):
    return channel.unary_stream("/test.Test/" + name)


def error_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    return None


def echo(message, **options):
    return unary("Echo")(message, timeout=PATIENCE, **options) == message


def metadata():
    given = (("x-a", "1"), ("x-a", "2"), ("x-b-bin", bytes(range(256))), ("x-long", "v" * 4000))
    answer, call = unary("Meta").with_call(b"m", metadata=given)
    got = [pair for pair in call.initial_metadata() if pair[0].startswith("x-")]
    last = dict(call.trailing_metadata())
    return answer == b"m" and set(given) <= set(got) and last["t-bin"] == bytes(range(256))


def failing():
    error = error_of(lambda: unary("Fail")(b""))
    is_whole = error.details() == "nö %25 €\n" and dict(error.trailing_metadata())["why-bin"] == b"\0\1\2"
    return is_whole and error.code() == grpc.StatusCode.FAILED_PRECONDITION


def failing_midway():
    got = []
    error = error_of(lambda: got.extend(down("FailMidway")(b"")))
    # The list is extended message by message, so it holds what came before the failure.
    return got == [b"1", b"2"] and error.code() == grpc.StatusCode.DATA_LOSS


def of_unknown_method():
    return error_of(lambda: unary("Nothing")(b"")).code() == grpc.StatusCode.UNIMPLEMENTED


def out_of_time():
    error = error_of(lambda: unary("Hang")(b"", timeout=0.3))
    return error.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def time_left():
    return 10 < float(unary("TimeLeft")(b"", timeout=50)) < 51


def never_ends():
    left = unary("TimeLeft")(b"")
    return left == b"None" or float(left) > NEVER


def many_down():
    got = [int.from_bytes(message[:4], "big") for message in down("Many")(b"10000 100")]
    return got == list(range(10000))


def large_down():
    return sum(map(len, down("Many")(b"50 1048576"))) == 50 * (1048576 + 4)


def many_up():
    messages = [bytes([number % 256]) * 1000 for number in range(10000)]
    digest = channel.stream_unary("/test.Test/Digest")(iter(messages))
    return digest == hashlib.sha256(b"".join(messages)).hexdigest().encode()


def chat():
    messages = [str(number).encode() for number in range(1000)]
    return list(channel.stream_stream("/test.Test/Chat")(iter(messages))) == messages


def question_and_answer():
    questions = queue.Queue()
    answers = channel.stream_stream("/test.Test/Chat")(iter(questions.get, None))
    for number in range(200):
        questions.put(b"%d" % number)
        if next(answers) != b"%d" % number:
            return False
    questions.put(None)
    return next(answers, None) is None


def eventually_ended(count):
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        if int(unary("Ended")(b"")) >= count:
            return True
    return False


def cancelled():
    before = int(unary("Ended")(b""))
    stream = down("Forever")(b"")
    first = [next(stream) for _ in range(5)]
    stream.cancel()
    return len(first) == 5 and eventually_ended(before + 1)


def stream_out_of_time():
    before = int(unary("Ended")(b""))
    error = error_of(lambda: list(down("Forever")(b"", timeout=0.5)))
    return error.code() == grpc.StatusCode.DEADLINE_EXCEEDED and eventually_ended(before + 1)


def many_at_once():
    with concurrent.futures.ThreadPoolExecutor(90) as callers:
        return all(callers.map(lambda number: echo(b"%d" % number), range(1000)))


def many_streams():
    # One less than the gateway takes on a connection, for the call beside them.
    streams = [down("Forever")(b"") for _ in range(99)]
    all_begin = all(next(stream) == b"0" for stream in streams)
    is_served = echo(b"still")
    for stream in streams:
        stream.cancel()
    return all_begin and is_served


CASES = {
    "a message without a byte": lambda: echo(b""),
    "a byte": lambda: echo(b"z"),
    "1 MiB": lambda: echo(b"z" * (1 << 20)),
    "16 MiB": lambda: echo(b"z" * (16 << 20)),
    "compressed by gzip": lambda: echo(b"z" * 100000, compression=grpc.Compression.Gzip),
    "metadata, repeated, of bytes and long": metadata,
    "an error in trailers alone": failing,
    "an error after two messages": failing_midway,
    "a method that is not there": of_unknown_method,
    "out of time": out_of_time,
    "the time left is passed on": time_left,
    "without a limit of time": never_ends,
    "10,000 messages down": many_down,
    "50 MiB down": large_down,
    "10,000 messages up": many_up,
    "1,000 messages both ways": chat,
    "question and answer": question_and_answer,
    "cancelling reaches the service": cancelled,
    "a stream out of time reaches the service": stream_out_of_time,
    "1,000 calls, 90 at once": many_at_once,
    "99 streams at once": many_streams,
}

for name, case in CASES.items():
    try:
        said = "ok" if case() else "bad"
    except Exception as error:  # Each case is told of, also when others go wrong.
        said = f"bad {error!r}"
    print(f"{said}: {name}", flush=True)
