#!/bin/sh
# apache-airflow-providers-redis 4.7.1: the trigger for redis+pubsub takes one message, and drops its subscription.
#
# MessageQueueTrigger(scheme="redis+pubsub") of apache-airflow-providers-common-messaging 2.1.2 is the AwaitMessageTrigger of
# the redis provider: run() subscribes, yields the first message and ends. What else came over that subscription goes with
# it, and Redis keeps nothing of a channel for the next one. The triggerer starts the trigger of an AssetWatcher again
# after it ended, so of messages that come close together the DAG is told of one. Seen: 9 messages in threes, run() started
# again each time, every PUBLISH of them answered by "1 subscriber": 3 arrive, [0, 3, 6]. What is published while no run()
# is on goes to nobody. A plain subscription of redis-py that stays gets all 9. The provider's page on message queues calls
# Redis "the underlying message queue system" there, and says none of this. poll_interval is 60 seconds if not given.
#
# Prints what it saw; fails if that has changed. Needs python3 with venv, and a package index. The server is fakeredis.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet apache-airflow==3.3.2 apache-airflow-providers-common-messaging==2.1.2 \
  apache-airflow-providers-redis==4.7.1 redis==8.1.0 fakeredis==2.40.0
AIRFLOW_HOME="$folder" "$folder/venv/bin/python" - <<'PYTHON'
import asyncio
import os
import threading

import fakeredis
import redis

server = fakeredis.TcpFakeServer(("127.0.0.1", 0))
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
port = server.server_address[1]
os.environ["AIRFLOW_CONN_REDIS_DEFAULT"] = f"redis://127.0.0.1:{port}/0"

from airflow.providers.common.messaging.triggers.msg_queue import MessageQueueTrigger

client = redis.Redis(host="127.0.0.1", port=port)


async def subscribers(number):
    async with asyncio.timeout(20):
        while client.pubsub_numsub("calls")[0][1] != number:
            await asyncio.sleep(0.05)


async def taken_by_run():
    trigger = MessageQueueTrigger(scheme="redis+pubsub", channels="calls", poll_interval=0.2)
    return [int(event.payload["data"]) async for event in trigger.run()]


async def main():
    classpath, _ = MessageQueueTrigger(scheme="redis+pubsub", channels="calls").serialize()
    print("the triggerer runs", classpath)
    kept = client.pubsub()
    arrived, answers, between = [], [], []
    for first in (0, 3, 6):
        run = asyncio.create_task(taken_by_run())
        await subscribers(1)
        answers += [client.publish("calls", number) for number in range(first, first + 3)]
        arrived += await asyncio.wait_for(run, 20)
        await subscribers(0)
        between.append(client.publish("calls", 99))
    print(f"trigger: subscribers told of each of 9 messages: {answers}; arrived: {arrived}")
    print(f"subscribers told of a message between two runs: {between}")
    assert answers == [1] * 9, "it has changed"
    assert arrived == [0, 3, 6], "it has changed"
    assert between == [0] * 3, "it has changed"
    kept.subscribe("calls")
    await subscribers(1)
    for number in range(9):
        client.publish("calls", number)
    plain = []
    while len(plain) < 9 and (message := kept.get_message(timeout=5)) is not None:
        if message["type"] == "message":
            plain.append(int(message["data"]))
    print(f"plain subscription: arrived: {plain}")
    assert plain == list(range(9)), "it fails for another reason"


asyncio.run(main())
PYTHON
