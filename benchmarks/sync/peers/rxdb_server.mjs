// RxDB server with its in-memory storage, one replication endpoint a collection: node rxdb_server.mjs PORT COLLECTION...
import { createRxDatabase } from "rxdb/plugins/core";
import { getRxStorageMemory } from "rxdb/plugins/storage-memory";
import { createRxServer } from "rxdb-server/plugins/server";
import { RxServerAdapterExpress } from "rxdb-server/plugins/adapter-express";

const [port, ...names] = process.argv.slice(2);
const text = (maxLength) => ({ type: "string", maxLength });
const schema = {
  version: 0,
  primaryKey: "id",
  type: "object",
  properties: {
    id: text(40),
    site: text(40),
    product: text(40),
    name: { type: "string" },
    serial: { type: "string" },
    installed_on: { type: "number" },
    status: { type: "string" },
    condition: { type: "string" },
    custom: { type: "object" },
  },
  required: ["id"],
};
const database = await createRxDatabase({ name: "bench", storage: getRxStorageMemory(), multiInstance: false });
await database.addCollections(Object.fromEntries(names.map((name) => [name, { schema }])));
const server = await createRxServer({ database, adapter: RxServerAdapterExpress, port: Number(port), hostname: "127.0.0.1", cors: "*" });
for (const name of names) {
  await server.addReplicationEndpoint({ name, collection: database[name] });
}
await server.start();
