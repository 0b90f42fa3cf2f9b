// A proxy on loopback that tears connections: a real socket, closed in the middle of a real stream.
import http from "node:http";

/**
 * Passes requests on to `base`; of the first `cuts` event streams the connection is destroyed after `bytes` bytes.
 * Gives { url, asked, close }: `asked` are the method, path and Last-Event-ID of each request.
 */
export async function cutting(base, { cuts, bytes }) {
  const { hostname, port, host } = new URL(base);
  const asked = [];
  const server = http.createServer((request, response) => {
    asked.push({ method: request.method, path: request.url, after: request.headers["last-event-id"] });
    const options = { hostname, port, method: request.method, path: request.url, headers: { ...request.headers, host } };
    const upstream = http.request(options, (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      const stream = (answer.headers["content-type"] ?? "").startsWith("text/event-stream");
      let left = stream && cuts > 0 ? bytes : Infinity;
      if (left === bytes) cuts -= 1;
      answer.on("data", (chunk) => {
        response.write(chunk.subarray(0, left), () => {
          if (left < 0) response.destroy(), upstream.destroy();
        });
        left -= chunk.length;
      });
      answer.on("end", () => left >= 0 && response.end());
      answer.on("error", () => response.destroy());
    });
    upstream.on("error", () => response.destroy());
    response.on("close", () => upstream.destroy());
    request.pipe(upstream);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const close = () => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  };
  return { url: `http://127.0.0.1:${server.address().port}`, asked, close };
}
