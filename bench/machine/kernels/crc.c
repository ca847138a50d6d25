/* CRC-32 (IEEE 802.3), a table look-up for each byte, over 32 KiB. */

#include "bench.h"

enum { SIZE = 32768 };
static uint32_t table[256];
static uint8_t data[SIZE];

__attribute__((noinline)) static uint32_t crc32(uint32_t crc, const uint8_t *p, size_t length) {
  crc = ~crc;
  for (size_t i = 0; i < length; i++) crc = table[(crc ^ p[i]) & 255] ^ (crc >> 8);
  return ~crc;
}

int main(int argc, char **argv) {
  unsigned repetitions = bench_repetitions(argc, argv);
  uint32_t crc = 0;
  for (uint32_t n = 0; n < 256; n++) {
    uint32_t c = n;
    for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ (c >> 1) : c >> 1;
    table[n] = c;
  }
  for (unsigned i = 0; i < SIZE; i++) data[i] = (uint8_t)(i * 31 + (i >> 7));
  bench_begin();
  for (unsigned i = 0; i < repetitions; i++) crc = crc32(crc, data, SIZE);
  bench_end(crc);
  return 0;
}
