"""A service that speaks gRPC, by Google's library; it says its port on standard output. Messages are plain bytes."""

import concurrent.futures
import hashlib
import time

import grpc

LARGE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
ended = 0


def meta(message, context):
    given = tuple((name, value) for name, value in context.invocation_metadata() if name.startswith("x-"))
    context.send_initial_metadata(given)
    context.set_trailing_metadata((("t-bin", bytes(range(256))), ("t-text", "ok")))
    return message


def fail(_message, context):
    context.set_trailing_metadata((("why-bin", b"\0\1\2"),))
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "nö %25 €\n")


def fail_midway(_message, context):
    yield b"1"
    yield b"2"
    context.abort(grpc.StatusCode.DATA_LOSS, "midway")


def hang(_message, context):
    while context.is_active():
        time.sleep(0.01)
    return b"late"


def many(message, _context):
    count, size = map(int, message.split())
    for number in range(count):
        yield number.to_bytes(4, "big") + b"x" * size


def forever(_message, context):
    def end():
        global ended
        ended += 1

    context.add_callback(end)
    number = 0
    while context.is_active():
        yield str(number).encode()
        number += 1
        time.sleep(0.01)


UNARY = {
    "Echo": lambda message, _context: message,
    "Meta": meta,
    "Fail": fail,
    "Hang": hang,
    "TimeLeft": lambda _message, context: str(context.time_remaining()).encode(),
    "Ended": lambda _message, _context: str(ended).encode(),
}
DOWN = {"FailMidway": fail_midway, "Many": many, "Forever": forever}
UP = {"Digest": lambda messages, _context: hashlib.sha256(b"".join(messages)).hexdigest().encode()}
BOTH = {"Chat": lambda messages, _context: (message for message in messages)}


class Methods(grpc.GenericRpcHandler):
    def service(self, details):
        name = details.method.removeprefix("/test.Test/")
        kinds = [
            (UNARY, grpc.unary_unary_rpc_method_handler),
            (DOWN, grpc.unary_stream_rpc_method_handler),
            (UP, grpc.stream_unary_rpc_method_handler),
            (BOTH, grpc.stream_stream_rpc_method_handler),
        ]
        return next((handler(methods[name]) for methods, handler in kinds if name in methods), None)


server = grpc.server(concurrent.futures.ThreadPoolExecutor(130), options=LARGE)
server.add_generic_rpc_handlers((Methods(),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
print(port, flush=True)
server.wait_for_termination()
