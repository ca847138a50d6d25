/** How a fake machine's exit code says that its guest reset instead of powering off. */
export const FAKE_RESET_CODE = 3;
