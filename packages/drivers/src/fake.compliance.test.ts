import { driverCompliance } from "./compliance.ts";

driverCompliance("fake", 3, () =>
  Promise.resolve({
    driver: "fake",
    images: "unused",
    image: "none",
    bootMs: 60_000,
    panic: "kill -USR2 $PPID",
  }),
);
