// The npm package `openai` against a sidecar: one JSON object on stdout says what it saw. BASE_URL, API_KEY.
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: process.env.API_KEY, timeout: 30_000 });
const messages = [{ role: "user", content: "hello" }];
const seen = {};

async function failure(work) {
  try {
    await work();
  } catch (error) {
    return { kind: error.constructor.name, status: error.status ?? null, code: error.code ?? null };
  }
  return null;
}

const steps = {
  async whole() {
    const answer = await client.chat.completions.create({ model: "auto", messages });
    return { text: answer.choices[0].message.content, finish: answer.choices[0].finish_reason, usage: answer.usage };
  },
  async stream() {
    const stream = await client.chat.completions.create({
      model: "auto",
      messages,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let usage = null;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta?.content ?? "";
      usage = chunk.usage ?? usage;
    }
    return { text, usage };
  },
  async tools() {
    const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
    const tools = [{ type: "function", function: { name: "weather", parameters } }];
    const first = await client.chat.completions.create({ model: "openai/priced", messages, tools });
    const call = first.choices[0].message.tool_calls[0];
    const back = [...messages, first.choices[0].message, { role: "tool", tool_call_id: call.id, content: "rain" }];
    const second = await client.chat.completions.create({ model: "openai/priced", messages: back, tools });
    return {
      finish: first.choices[0].finish_reason,
      name: call.function.name,
      arguments: JSON.parse(call.function.arguments),
      text: second.choices[0].message.content,
    };
  },
  async structured() {
    const schema = { type: "object", properties: { day: { type: "integer" } }, required: ["day"] };
    const answer = await client.chat.completions.create({
      model: "openai/priced",
      messages,
      response_format: { type: "json_schema", json_schema: { name: "day", schema } },
    });
    return JSON.parse(answer.choices[0].message.content);
  },
  async completion() {
    const answer = await client.completions.create({ model: "auto", prompt: "a = ", suffix: "\n" });
    return answer.choices[0].text;
  },
  async models() {
    const names = [];
    for await (const model of client.models.list()) names.push(model.id);
    return names;
  },
  async errors() {
    const stranger = new OpenAI({ baseURL: process.env.BASE_URL, apiKey: "wrong" });
    const torn = async () => {
      const stream = await client.chat.completions.create({ model: "torn", messages, stream: true });
      for await (const _ of stream);
    };
    return {
      key: await failure(() => stranger.chat.completions.create({ model: "auto", messages })),
      model: await failure(() => client.chat.completions.create({ model: "nobody-knows-this", messages })),
      body: await failure(() => client.chat.completions.create({ model: "auto", messages, n: 2 })),
      torn: await failure(torn),
    };
  },
  async cancellation() {
    const stream = await client.chat.completions.create({ model: "ollama/coder", messages, stream: true });
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta?.content) break;
    }
    return stream.controller.signal.aborted;
  },
};

for (const name of process.argv.slice(2)) seen[name] = await steps[name]();
console.log(JSON.stringify(seen));
