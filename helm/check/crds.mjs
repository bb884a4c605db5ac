// Validates the objects that have no schema in Kubernetes itself by those of their own projects.
// usage: node crds.mjs FILE PACKAGES   (FILE from chart.py; PACKAGES: the folder with node_modules)
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

const PACKAGES = {
  "cert-manager.io": "@kubernetes-models/cert-manager",
  "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
  "gateway.networking.k8s.io": "@kubernetes-models/gateway-api",
};
const [, , file, packages] = process.argv;
let wrong = 0;
const seen = {};
for (const { set, object } of JSON.parse(readFileSync(file, "utf8"))) {
  const [group] = object.apiVersion.split("/");
  try {
    const path = join(packages, "node_modules", PACKAGES[group], object.apiVersion, `${object.kind}.js`);
    const model = (await import(pathToFileURL(path).href))[object.kind];
    new model(object).validate();
    seen[object.kind] = (seen[object.kind] ?? 0) + 1;
  } catch (error) {
    wrong += 1;
    console.log(`FAIL ${set}: ${object.kind} ${object.metadata.name}: ${error.message}`);
  }
}
console.log(`custom objects: ${Object.entries(seen).map(([kind, count]) => `${count} ${kind}`).join(", ")}, ${wrong} wrong`);
process.exit(wrong === 0 ? 0 : 1);
