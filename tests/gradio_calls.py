"""Calls to the page's tabs as its own script sends them, without a browser."""

import secrets
from typing import Any


class Visitor:
    """One visitor: a session of Gradio's, and a client that sends (httpx or FastAPI's test client)."""

    def __init__(self, client: Any):
        self.client, self.session = client, secrets.token_hex(6)
        config = client.get("/config").json()
        self.named = {one["props"].get("elem_id"): one["id"] for one in config["components"]}
        self.labelled = {one["props"].get("label"): one["id"] for one in config["components"]}
        self.events = {tuple(target): one for one in config["dependencies"] for target in one["targets"]}

    def body(self, place: str, event: str, data: list, told: Any = None) -> dict:
        """Return the call that an event of a component (by its id in the page, or its label) makes."""
        target = self.named.get(place) or self.labelled[place]
        found = self.events[(target, event)]
        return {
            "data": data, "event_data": told, "fn_index": found["id"], "trigger_id": target,
            "session_hash": self.session,
        }  # fmt: skip

    def call(self, place: str, event: str, data: list, told: Any = None) -> str:
        """Make the call and return the HTML that it answers with, the last of its outputs."""
        reply = self.client.post("/gradio_api/run/predict", json=self.body(place, event, data, told))
        assert reply.status_code == 200, reply.text
        return reply.json()["data"][-1]
