/** Where a driver finds the files behind an image's name. */

export interface ResolvedImage {
  /** Folder that holds the files. */
  readonly dir: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly cmdline: string;
  /** As in "riscv64"; absent: its description does not say. */
  readonly arch?: string;
  /** A raw disk that its VMs begin with; it stays as it is. */
  readonly disk?: string;
}

export interface ImageStore {
  /** Errors: NotFound with a hint, Corrupt when a file is not what its description says. */
  resolve(image: string): Promise<ResolvedImage>;
}
