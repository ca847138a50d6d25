/** Needs Debian's apt, dpkg and gcc; downloads the kernel once into the default cache's packages. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { gunzipSync } from "node:zlib";
import { fileURLToPath } from "node:url";
import { buildImage } from "./build.ts";

let cacheDir = "";

before(async () => {
  cacheDir = await mkdtemp(join(tmpdir(), "blixard-build-"));
});

after(async () => {
  await rm(cacheDir, { recursive: true, force: true });
});

test("builders at once make one image; later ones find it; a broken one is built again", async () => {
  const images = await Promise.all([1, 2, 3].map(() => buildImage({ cacheDir })));
  assert.equal(images.filter((image) => image.built).length, 1);
  const [image] = images;
  assert.ok(image);
  assert.equal(new Set(images.map(({ dir }) => dir)).size, 1);
  assert.equal((await buildImage({ cacheDir })).built, false);
  const initrd = await readFile(image.initrd);
  await writeFile(image.initrd, "broken");
  assert.equal((await buildImage({ cacheDir })).built, true);
  assert.ok(initrd.equals(await readFile(image.initrd)), "the same inputs give the same bytes");
  assert.ok(initrd.equals(await readFile(join(cacheDir, "base", "initrd.img"))), "by its name");
  assert.deepEqual(
    (await readdir(cacheDir)).toSorted(),
    [".packages", "base", `base-${image.hash}`].toSorted(),
    "nothing else stays",
  );
  const description: unknown = JSON.parse(await readFile(join(image.dir, "image.json"), "utf8"));
  assert.ok(typeof description === "object" && description !== null && "packages" in description);
  assert.match(JSON.stringify(description.packages), /linux-image-.*-cloud-amd64.*GPL-2\.0-only/);
});

test("busybox reads the initramfs as we mean it", async () => {
  const image = await buildImage({ cacheDir });
  const found = spawnSync("sh", ["-c", "command -v busybox cpio"]).stdout.toString().split("\n")[0];
  assert.ok(found, "busybox or cpio is installed (apt install busybox-static)");
  const args = found.endsWith("busybox") ? ["cpio", "-tv"] : ["-tv"];
  const listed = spawnSync(found, args, { input: gunzipSync(await readFile(image.initrd)) });
  const text = listed.stdout.toString();
  assert.match(text, /-rwxr-xr-x.* init\n/);
  assert.match(text, /crw-------.* dev\/console\n/);
  assert.match(text, /drwxrwxrwt.* tmp\n/);
  assert.match(text, /lrwxrwxrwx.* bin\/sh -> \/bin\/busybox\n/);
  assert.match(text, /virtio_console\.ko\n/);
});

test("what is missing is named with the package that has it", async () => {
  const path = join(cacheDir, "path");
  await mkdir(path);
  const build = (): { code?: string; hint?: string; message?: string } => {
    const main = fileURLToPath(new URL("main.ts", import.meta.url));
    const args = ["--conditions=source", main, "--json", "--cache", join(cacheDir, "other")];
    const done = spawnSync(process.execPath, args, { env: { PATH: path, HOME: cacheDir } });
    assert.notEqual(done.status, 0);
    // Safe: the failure that main.ts prints.
    return (JSON.parse(done.stdout.toString()) as { error: object }).error;
  };
  assert.match(build().message ?? "", /apt-cache is not installed|dpkg is not installed/);
  for (const tool of ["dpkg", "apt-cache", "apt-get", "dpkg-deb"]) {
    await symlink(`/usr/bin/${tool}`, join(path, tool));
  }
  // The packages are there already, so that this needs no network.
  await mkdir(join(cacheDir, "other"), { recursive: true });
  await symlink(join(cacheDir, ".packages"), join(cacheDir, "other", ".packages"));
  await symlink("/usr/bin/tar", join(path, "tar"));
  const failed = build();
  assert.equal(failed.code, "Unavailable");
  assert.match(failed.message ?? "", /gcc is not installed/);
  assert.equal(failed.hint, "apt install gcc libc6-dev");
  assert.deepEqual(await readdir(join(cacheDir, "other")), [".packages"]);
});
