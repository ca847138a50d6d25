/** `vm explain` */

import type { ConnectionFlags } from "../connection.ts";
import { write } from "../io.ts";
import { printOne, table, type Format } from "../output.ts";
import type { Context } from "../options.ts";
import { withClient } from "./with-client.ts";

export async function vmExplain(
  context: Context,
  ref: string,
  options: ConnectionFlags & { readonly output: Format },
): Promise<void> {
  const { io } = context;
  await withClient(context, options, async (client) => {
    const explanation = await client.explainVm(ref);
    if (options.output !== "table") {
      const chosen = explanation.nodes.find((node) => node.nodeId === explanation.chosen);
      return printOne(io, options.output, explanation, () => chosen?.name ?? "", []);
    }
    const text = table(explanation.nodes, [
      { title: "NODE", value: (node) => node.name },
      { title: "CHOSEN", value: (node) => (node.nodeId === explanation.chosen ? "yes" : "") },
      { title: "FITS", value: (node) => (node.fits ? "yes" : "no") },
      { title: "SCORE", value: (node) => (node.score === undefined ? "" : node.score.toFixed(3)) },
      { title: "WHY", value: (node) => node.why },
    ]);
    return write(io.stdout, text);
  });
}
