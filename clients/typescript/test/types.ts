// Read by tsc alone: what must have a type has it, and what is wrong is refused.
import { Sidecar, SidecarError, type ChatEvent, type Route } from "../src/index.js";

const sidecar = new Sidecar({ baseUrl: "http://127.0.0.1:8765", token: "t" });

export function shown(event: ChatEvent): string {
  switch (event.type) {
    case "route":
      return event.data.rule satisfies Route["rule"];
    case "context":
      return event.data.blocks.map((block) => block.outcome satisfies string).join();
    case "attempt":
      return event.data.reason ?? "";
    case "token":
    case "reasoning":
      return event.data.text;
    case "tool_call":
      return event.data.arguments;
    case "done":
      return `${event.data.output_tokens satisfies number} ${event.data.finish_reason}`;
    case "error":
      return `${event.data.code} ${event.data.delivered_characters satisfies number}`;
    case "reset":
      return String(event.data.next_id);
    default:
      return event satisfies never;
  }
}

export async function asked(): Promise<void> {
  const whole = await sidecar.complete({ query: "x" });
  whole.text satisfies string;
  // @ts-expect-error: there is no such field in an answer
  whole.txt;
  // @ts-expect-error: nor in a question
  sidecar.chat({ qurey: "x" });
  // @ts-expect-error: nor in a query
  await sidecar.usage({ grouped: "model" });
  const usage = await sidecar.usage({ group_by: "model" });
  // @ts-expect-error: it has a type
  usage satisfies string;
  (await sidecar.models()).models.length satisfies number;
  for await (const event of sidecar.events()) if (event.type === "settled") event.data.status satisfies string;
  for await (const event of sidecar.notificationEvents()) event.data.id satisfies string;
  try {
    await sidecar.deleteSession("s");
  } catch (error) {
    if (error instanceof SidecarError) error.errors[0]?.field satisfies string | undefined;
  }
}
