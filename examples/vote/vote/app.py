"""The page where people vote. A vote is one JSON line in a Redis list."""

import json
import os
import secrets
import socket

from flask import Flask, make_response, render_template, request
from redis import Redis

OPTIONS = {"a": os.environ.get("OPTION_A", "Cats"), "b": os.environ.get("OPTION_B", "Dogs")}
HEADLINE = "Which do you like better?"

app = Flask(__name__)
redis = Redis(host="redis", socket_timeout=5)


@app.route("/", methods=["GET", "POST"])
def index():
    voter = request.cookies.get("voter") or secrets.token_hex(8)
    chosen = None
    if request.method == "POST":
        chosen = request.form.get("vote")
        if chosen not in OPTIONS:
            return "vote must be a or b", 400
        redis.rpush("votes", json.dumps({"voter": voter, "vote": chosen}))
    page = render_template(
        "index.html", headline=HEADLINE, options=OPTIONS, chosen=chosen, host=socket.gethostname()
    )
    response = make_response(page)
    response.set_cookie("voter", voter)
    return response


@app.route("/healthz")
def healthz():
    redis.ping()
    return "ok\n"
