"""A service in Python: plain grpcio, and no stubs. The node says by reflection what it can be asked.

caller.py NODE GROUP   calls the group's devices in every way, and checks what comes back. Needs grpcio,
grpcio-reflection and grpcio-status. Prints what it saw, a line for each way.
caller.py NODE GROUP until-stopped   calls without a pause, several calls at once, until its standard input ends; prints how
many calls were answered and how many failed, and how.
"""

import collections
import concurrent.futures
import json
import sys
import threading
from datetime import timedelta

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

SERVICE = "rollcall.v1.InvokeService"
RETRIES = {
    "methodConfig": [
        {
            "name": [{"service": SERVICE}],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.05s",
                "maxBackoff": "2s",
                "backoffMultiplier": 2,
                # Only ever used where nothing was executed.
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ],
    "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1},
}


class Calls:
    """InvokeService, as the node describes it."""

    def __init__(self, channel):
        pool = DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        self.message = lambda name: GetMessageClass(pool.FindMessageTypeByName(f"rollcall.v1.{name}"))
        self.outcomes = pool.FindEnumTypeByName("rollcall.v1.Outcome").values_by_number
        methods = pool.FindServiceByName(SERVICE).methods_by_name

        def rpc(kind, name):
            method = methods[name]
            return kind(
                f"/{SERVICE}/{name}",
                request_serializer=GetMessageClass(method.input_type).SerializeToString,
                response_deserializer=GetMessageClass(method.output_type).FromString,
            )

        self.invoke = rpc(channel.unary_unary, "Invoke")
        self.stream = rpc(channel.stream_stream, "InvokeStream")
        self.broadcast = rpc(channel.unary_stream, "Broadcast")


def failure_of(call):
    """The code, the reason and the outcome of a call that must fail."""
    try:
        answer = call()
    except grpc.RpcError as error:
        details = rpc_status.from_call(error).details
        infos = [detail for detail in details if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
        assert len(infos) == 1, details
        info = error_details_pb2.ErrorInfo()
        infos[0].Unpack(info)
        assert info.domain == "rollcall", info
        return error.code().name, info.reason, info.metadata["outcome"]
    raise AssertionError(f"it succeeded: {answer}")


def until_stopped(calls, group):
    """Eight callers on one channel; none of their calls may be sent twice, so the node must lose none."""
    request = calls.message("InvokeRequest")(group=group, action="sleep", payload=b"20")
    stopped, ends = threading.Event(), collections.Counter()

    def call():
        seen = collections.Counter()
        while not stopped.is_set():
            try:
                calls.invoke(request, timeout=30)
                seen["answered"] += 1
            except grpc.RpcError as error:
                seen[f"{error.code().name}: {error.details()}"] += 1
        return seen

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        callers = [pool.submit(call) for _ in range(8)]
        sys.stdin.read()
        stopped.set()
        for caller in callers:
            ends += caller.result()
    answered = ends.pop("answered", 0)
    print(f"{answered} answered, {sum(ends.values())} failed: {dict(ends)}")


def main(node, group, *mode):
    options = [
        ("grpc.service_config", json.dumps({} if mode else RETRIES)),
        ("grpc.keepalive_time_ms", 20_000),
        ("grpc.max_receive_message_length", 17 << 20),
    ]
    with grpc.insecure_channel(node, options=options) as channel:
        if mode == ("until-stopped",):
            return until_stopped(Calls(channel), group)
        calls = Calls(channel)
        request = calls.message("InvokeRequest")

        answer = calls.invoke(request(group=group, action="echo", payload=b"hello"), timeout=10)
        assert answer.payload == b"hello" and answer.device_id and answer.node, answer
        print(f"invoke: {answer.device_id} on {answer.node}")

        failed = failure_of(lambda: calls.invoke(request(group="nobody", action="echo"), timeout=10))
        assert failed == ("FAILED_PRECONDITION", "NO_DEVICE", "NOT_EXECUTED"), failed
        failed = failure_of(lambda: calls.invoke(request(group=group, action="fail", payload=b"no"), timeout=10))
        assert failed == ("UNKNOWN", "DEVICE_ERROR", "EXECUTED"), failed
        slow = request(group=group, action="sleep", payload=b"60000", timeout=timedelta(milliseconds=300))
        failed = failure_of(lambda: calls.invoke(slow, timeout=10))
        assert failed == ("DEADLINE_EXCEEDED", "DEADLINE", "UNKNOWN"), failed
        print("failures: NO_DEVICE, DEVICE_ERROR, DEADLINE")

        frame = calls.message("InvokeStreamRequest")
        wanted = [("echo", b"1"), ("dance", b""), ("echo", b"3")]
        frames = [
            frame(tag=tag, call=request(group=group, action=action, payload=payload))
            for tag, (action, payload) in enumerate(wanted)
        ]
        answers = {answer.tag: answer for answer in calls.stream(iter(frames), timeout=10)}
        assert sorted(answers) == [0, 1, 2], answers
        assert answers[2].response.payload == b"3" and answers[1].failure.reason, answers
        print("stream: 2 answers, 1 failure")

        everyone = calls.message("BroadcastRequest")(group=group, action="echo", payload=b"all")
        devices, summary = {}, None
        for item in calls.broadcast(everyone, timeout=30):
            kind = item.WhichOneof("kind")
            if kind == "result":
                assert item.result.device_id not in devices, item
                devices[item.result.device_id] = item.result.response.payload
            elif kind == "summary":
                summary = item.summary
        assert set(devices.values()) == {b"all"}, devices
        assert summary.targets == summary.answered == len(devices), summary
        nobody = calls.message("BroadcastRequest")(group="nobody", action="echo")
        failed = failure_of(lambda: list(calls.broadcast(nobody, timeout=10)))
        assert failed == ("FAILED_PRECONDITION", "NO_DEVICE", "NOT_EXECUTED"), failed
        print(f"broadcast: {summary.answered} of {summary.targets}")


if __name__ == "__main__":
    main(*sys.argv[1:])
