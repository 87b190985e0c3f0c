// GCC 12 declares that loading a configuration of tiles reads eight bytes of it,
// and drops the stores to the other 56: what uses tiles then ends as an illegal
// instruction. This says what is read.
#pragma once
#include <immintrin.h>
#undef _tile_loadconfig
#define _tile_loadconfig(config) __asm__ volatile("ldtilecfg %0" : : "m"(*(const char(*)[64])(config)))
