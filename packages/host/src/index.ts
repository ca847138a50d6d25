export { hostClock, hostRandom } from "./clock.ts";
export {
  createFile,
  diskError,
  hasCode,
  isMissing,
  readTextFile,
  replaceFile,
  syncFolder,
} from "./files.ts";
