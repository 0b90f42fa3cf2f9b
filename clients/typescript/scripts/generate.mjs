// Writes src/openapi.ts from ../../openapi.json; with --check it only says whether that file is out of date.
import { readFile, writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";

const SOURCE = new URL("../../../openapi.json", import.meta.url);
const TARGET = new URL("../src/openapi.ts", import.meta.url);
const HEAD = "// Made from openapi.json by `npm run generate`: do not edit.\n";

const contract = JSON.parse(await readFile(SOURCE, "utf8"));
for (const [path, operations] of Object.entries(contract.paths)) {
  if (!path.startsWith("/api/v1/")) delete contract.paths[path]; // other people's dialects have their own clients
  for (const operation of Object.values(operations)) {
    // Every other status has the same body, a Problem.
    for (const status of Object.keys(operation.responses)) if (!status.startsWith("2")) delete operation.responses[status];
  }
}
// A field with a default may be left out of a request; without `defaultNonNullable: false` it would be required.
const text = HEAD + astToString(await openapiTS(contract, { defaultNonNullable: false, silent: true }));
if (process.argv.includes("--check")) {
  if ((await readFile(TARGET, "utf8").catch(() => "")) !== text) {
    console.error("clients/typescript/src/openapi.ts is out of date: make client");
    process.exit(1);
  }
} else {
  await writeFile(TARGET, text);
}
