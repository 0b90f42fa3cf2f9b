"""A call and an answer per great wire, for translating once before anybody waits: litellm imports more at first use."""

from __future__ import annotations

from collections.abc import Mapping

from app.llm.calls import ModelCall
from app.routing.catalog import Endpoint, ModelSpec, Source, Sourced
from app.routing.locality import Location

_TOOL = {
    "type": "function",
    "function": {"name": "look", "description": "Look.", "parameters": {"type": "object", "properties": {}}},
}
_OPENAI = (
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"a"},"finish_reason":null}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","type":"function",'
    b'"function":{"name":"look","arguments":"{}"}}]},"finish_reason":null}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}\n\ndata: [DONE]\n\n'
)
_OLLAMA = (
    b'{"model":"m","message":{"role":"assistant","content":"a"},"done":false}\n'
    b'{"model":"m","message":{"role":"assistant","content":"","tool_calls":'
    b'[{"function":{"name":"look","arguments":{"a":1}}}]},"done":false}\n'
    b'{"model":"m","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop",'
    b'"prompt_eval_count":1,"eval_count":1}\n'
)
_ANTHROPIC = (
    b'data: {"type":"message_start","message":{"usage":{"input_tokens":1,"output_tokens":1}}}\n\n'
    b'data: {"type":"content_block_start","index":0,"content_block":'
    b'{"type":"tool_use","id":"c","name":"look","input":{}}}\n\n'
    b'data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{}"}}\n\n'
    b'data: {"type":"content_block_stop","index":0}\n\n'
    b'data: {"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":1}}\n\n'
    b'data: {"type":"message_stop"}\n\n'
)
_GEMINI = (
    b'data: {"candidates":[{"content":{"parts":[{"text":"a"}],"role":"model"},"index":0}]}\n\n'
    b'data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"look","args":{}}}],"role":"model"},'
    b'"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":1,'
    b'"totalTokenCount":2}}\n\n'
)
ANSWERS: Mapping[str, bytes] = {
    "ollama_chat": _OLLAMA,
    "openai": _OPENAI,
    "hosted_vllm": _OPENAI,
    "anthropic": _ANTHROPIC,
    "gemini": _GEMINI,
}


def sample_call(wire: str) -> ModelCall:
    """A small call with a tool, to a closed port; it is translated and never sent."""
    model = ModelSpec(
        id=f"{wire}/warm-up",
        provider=wire,
        wire=wire,
        name="warm-up",
        endpoint=Endpoint("http://127.0.0.1:9", Location.LOOPBACK, "never asked"),
        context_window=Sourced(8192, Source.DEFAULT),
        max_output_tokens=Sourced(1024, Source.DEFAULT),
        price=Sourced(None, Source.DEFAULT),
        tokenizer="gpt-4",
    )
    messages = ({"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"})
    return ModelCall(model, messages, local_only=True, max_output_tokens=16, temperature=0.2, tools=(_TOOL,))
