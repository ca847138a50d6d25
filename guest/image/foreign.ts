/**
 * Packages of another architecture or Debian suite than this machine's: apt with a folder of its
 * own, whose sources are the mirrors that this machine is configured with. Nothing of the machine's
 * apt is touched.
 */

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tool, unavailable, type AptContext } from "./debian.ts";

export interface ForeignSuite {
  /** Debian's name of the architecture. */
  readonly architecture: string;
  readonly suite: string;
}

/**
 * In Debian's own keyring package; what is downloaded is besides checked against pinned SHA-256s.
 */
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** The mirrors of Debian's main archive that this machine uses. Errors: Unavailable. */
async function mirrors(): Promise<string[]> {
  const format = "$(REPO_URI)|$(COMPONENT)|$(LABEL)";
  const args = ["indextargets", "--format", format, "Identifier: Packages"];
  const rows = (await tool("apt-get", "apt", args)).trim().split("\n");
  const uris = rows
    .map((row) => row.split("|"))
    .filter(([, component, label]) => component === "main" && label === "Debian")
    .map(([uri]) => uri ?? "");
  if (uris.length === 0) unavailable("apt has no source of Debian's main archive", "apt update");
  return [...new Set(uris)].slice(0, 1);
}

/** Makes the folder and fetches the suite's index of packages and sources. Errors: Unavailable. */
export async function foreignApt(
  folder: string,
  { architecture, suite }: ForeignSuite,
): Promise<AptContext> {
  const dirs = { state: "state", cache: "cache", etc: "etc" };
  for (const dir of ["state/lists/partial", "cache/archives/partial", "etc"]) {
    await mkdir(join(folder, dir), { recursive: true });
  }
  const stanza = [
    "Types: deb deb-src",
    `URIs: ${(await mirrors()).join(" ")}`,
    `Suites: ${suite}`,
    "Components: main",
    `Signed-By: ${KEYRING}`,
  ];
  await writeFile(join(folder, "etc", "debian.sources"), `${stanza.join("\n")}\n`);
  const settings = [
    `Dir::State "${join(folder, dirs.state)}";`,
    `Dir::State::status "/dev/null";`,
    `Dir::Cache "${join(folder, dirs.cache)}";`,
    `Dir::Etc::SourceList "/dev/null";`,
    `Dir::Etc::SourceParts "${join(folder, dirs.etc)}";`,
    `APT::Architecture "${architecture}";`,
    `APT::Architectures { "${architecture}"; };`,
    `Acquire::Languages "none";`,
  ];
  const config = join(folder, "apt.conf");
  await writeFile(config, `${settings.join("\n")}\n`);
  const apt = { env: { APT_CONFIG: config } };
  await tool("apt-get", "apt", ["update"], apt);
  return apt;
}
