/** Bounds of booting; sizes in bytes. */

/** Linux' COMMAND_LINE_SIZE on riscv64 is 1024, its end mark included. */
export const COMMAND_LINE_BYTES_MAX = 1023;
export const KERNEL_BYTES_MAX = 268_435_456;
/** RAM that must stay free beside kernel, initrd and device tree, or Linux cannot even unpack them. */
export const WORKING_BYTES_MIN = 8_388_608;
export const RAM_BYTES_MIN = 16_777_216;
/** Linux maps the tree through two 2 MiB pages; this keeps it inside one. */
export const TREE_BYTES_MAX = 65_536;
export const RNG_SEED_BYTES_MAX = 512;
