/*
 * In the manner of Dhrystone: records behind pointers, short calls, string copies and compares, enumerations,
 * small arrays. Written anew; its numbers compare with nothing but themselves.
 */

#include "bench.h"

typedef enum { RED, GREEN, BLUE, WHITE } Colour;

typedef struct Record {
  struct Record *next;
  Colour colour;
  Colour other;
  int number;
  char text[31];
} Record;

static Record first, second;
static int vector[50], grid[50][50];
static char letter_a, letter_b;
static int shared;

__attribute__((noinline)) static Colour letter_colour(char a, char b) {
  char copy = a;
  if (copy != b) return RED;
  letter_a = copy;
  return GREEN;
}

__attribute__((noinline)) static int texts_differ(const char *a, const char *b) {
  int at = 2;
  char letter = 'A';
  while (at <= 2) {
    if (letter_colour(a[at], b[at + 1]) == RED) {
      letter = 'B';
      at++;
    }
    if (letter == 'R') return 1;
    if (strcmp(a, b) > 0) {
      shared += at + 7;
      return 1;
    }
  }
  return 0;
}

__attribute__((noinline)) static void next_colour(Colour in, Colour *out) {
  *out = in == BLUE ? GREEN : WHITE;
  switch (in) {
  case RED: *out = RED; break;
  case GREEN: *out = shared > 100 ? RED : WHITE; break;
  case BLUE: *out = GREEN; break;
  case WHITE: break;
  }
}

__attribute__((noinline)) static void add(int a, int b, int *out) { *out = b + a + 2; }

__attribute__((noinline)) static void fill(int *row, int (*table)[50], int at, int value) {
  int index = at + 5;
  row[index] = value;
  row[index + 1] = row[index];
  row[index + 30] = index;
  for (int n = index; n <= index + 1; n++) table[index][n] = index;
  table[index][index - 1] += 1;
  table[index + 20][index] = row[index];
  shared = 5;
}

__attribute__((noinline)) static void follow(Record *record) {
  Record *next = record->next;
  *next = first;
  record->number = 5;
  next->number = record->number;
  next->next = record->next;
  if (next->colour == RED) {
    next->number = 6;
    next_colour(record->other, &next->other);
    next->next = first.next;
    add(next->number, 10, &next->number);
  } else {
    *record = *next;
  }
}

__attribute__((noinline)) static uint64_t pass(unsigned run) {
  int a = 2, b = 3, c = 0;
  char one[31], two[31];
  Colour colour = GREEN;
  shared = 0;
  letter_a = 'A';
  letter_b = 'B';
  strcpy(one, "DHRYSTONE PROGRAM, 1'ST STRING");
  strcpy(two, "DHRYSTONE PROGRAM, 2'ND STRING");
  int same = !texts_differ(one, two);
  while (a < b) {
    c = 5 * a - b;
    add(a, b, &c);
    a++;
  }
  fill(vector, grid, a, c);
  follow(&first);
  for (char letter = 'A'; letter <= letter_b; letter++) {
    if (colour == letter_colour(letter, 'C')) {
      next_colour(RED, &colour);
      strcpy(two, "DHRYSTONE PROGRAM, 3'RD STRING");
      b = (int)run;
    }
  }
  b = b * a;
  a = b / (c == 0 ? 1 : c);
  b = 7 * (b - c) - a;
  return bench_mix((uint64_t)(uint32_t)b, (uint64_t)(same + colour + first.number + two[19]));
}

int main(int argc, char **argv) {
  unsigned repetitions = bench_repetitions(argc, argv);
  uint64_t sum = 0;
  first.next = &second;
  first.colour = RED;
  first.other = BLUE;
  first.number = 40;
  strcpy(first.text, "DHRYSTONE PROGRAM, SOME STRING");
  bench_begin();
  for (unsigned i = 0; i < repetitions; i++) {
    for (unsigned run = 0; run < 10000; run++) sum = bench_mix(sum, pass(run));
  }
  bench_end(sum);
  return 0;
}
