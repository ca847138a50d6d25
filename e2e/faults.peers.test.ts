/**
 * Bad input and faults against real processes: every failure is precise (code, message, hint, exit code),
 * and nothing acknowledged is lost. As root on Debian with QEMU: file systems are mounted, guests booted.
 */

import "./faults/config.ts";
import "./faults/doors.ts";
import "./faults/rot.ts";
