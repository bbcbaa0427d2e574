"""A user inside of the cluster, without a gateway: asks a Service steadily, and says at its end what answered."""

import http.client
import json
import os
import sys
import threading
import time

SERVICE, PORT, SECONDS = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ended = time.monotonic() + SECONDS
answers, failures, lock = [], [], threading.Lock()


def ask(connection, path, keeps):
    connection.request("GET", path, headers={} if keeps else {"Connection": "close"})
    answer = connection.getresponse()
    text = answer.read().decode()
    if answer.status != 200:
        raise RuntimeError(f"status {answer.status}")
    return text, answer.will_close


def user(path, keeps):
    connection = None
    while time.monotonic() < ended and not os.path.exists("/tmp/stop"):
        sent = time.monotonic()
        try:
            if connection is None:
                connection = http.client.HTTPConnection(SERVICE, PORT, timeout=15)
            version, closes = ask(connection, path, keeps)
            with lock:
                answers.append((sent, version, keeps))
        except Exception as error:
            closes = True
            with lock:
                failures.append(f"{path} {keeps}: {error!r}")
        if closes or not keeps:
            connection.close()
            connection = None
        time.sleep(0.01)


users = [threading.Thread(target=user, args=args) for args in [("/", True), ("/", True), ("/", False), ("/", False), ("/slow", False)]]
for one in users:
    one.start()
print("asking", flush=True)
for one in users:
    one.join()
versions = sorted({version for _, version, _ in answers})
fresh = [(sent, version) for sent, version, keeps in answers if not keeps]
mixed = 0
if len(versions) == 2:
    first = min((sent for sent, version in fresh if version == versions[1]), default=0)
    last = max((sent for sent, version in fresh if version == versions[0]), default=0)
    mixed = max(0, int((last - first) * 1000))
print(json.dumps({"sent": len(answers) + len(failures), "failures": failures[:5], "failed": len(failures), "versions": versions, "mixed": mixed}))
