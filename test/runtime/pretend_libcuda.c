// SPDX-License-Identifier: Apache-2.0
// A libcuda.so.1 without a GPU, for tests of what this project does with the driver's answers: "device memory" is host
// memory, streams do their work at once, and everything that is taken and given back is counted.
//
// Kernels are run by what PRETEND_KERNELS names: libraries that g++ made of their sources, divided by colons.
//
// PRETEND_INIT: what cuInit returns. PRETEND_DEVICES: how many devices there are (1). PRETEND_MEMORY: free bytes (1 GiB).
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_STACK 64
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101, INVALID_CONTEXT = 201 };

static int primary;  // its address is the primary context
static int retained, streams, events, device_blocks, host_blocks, modules;
static __thread void *stack[MAX_STACK];
static __thread int depth;

static long number(const char *name, long otherwise) {
  const char *text = getenv(name);
  return text ? atol(text) : otherwise;
}

// What tests read: contexts retained, streams, events, blocks of device and of host memory, depth of this thread's stack.
int pretend_modules(void) { return modules; }
void pretend_counts(int counts[6]) {
  int now[6] = {retained, streams, events, device_blocks, host_blocks, depth};
  memcpy(counts, now, sizeof(now));
}

static int usable(void) { return depth > 0 && stack[depth - 1] == &primary && retained > 0 ? OK : INVALID_CONTEXT; }

int cuInit(unsigned flags) { return (int)number("PRETEND_INIT", OK); }
int cuDriverGetVersion(int *version) { *version = 13010; return OK; }
int cuDeviceGetCount(int *count) { *count = (int)number("PRETEND_DEVICES", 1); return OK; }
int cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return ordinal < number("PRETEND_DEVICES", 1) ? OK : INVALID_DEVICE;
}
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "Pretended GPU", size); return OK; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = (size_t)2 << 30; return OK; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? 8 : attribute == 76 ? 7 : attribute == 16 ? 14 : 0;
  return OK;
}
int cuGetErrorString(int code, const char **text) {
  *text = code == NO_DEVICE ? "no CUDA-capable device is detected" : code == OUT_OF_MEMORY ? "out of memory" : "an error";
  return OK;
}
int cuGetErrorName(int code, const char **text) { return cuGetErrorString(code, text); }

int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &primary; retained++; return OK; }
static int release(void) { if (!retained) return INVALID_CONTEXT; retained--; return OK; }
int cuDevicePrimaryCtxRelease(int device) { return release(); }
int cuDevicePrimaryCtxRelease_v2(int device) { return release(); }
int cuCtxPushCurrent_v2(void *context) { if (depth == MAX_STACK) return INVALID_VALUE; stack[depth++] = context; return OK; }
int cuCtxPopCurrent_v2(void **context) { if (!depth) return INVALID_CONTEXT; *context = stack[--depth]; return OK; }
int cuCtxGetCurrent(void **context) { *context = depth ? stack[depth - 1] : NULL; return OK; }
int cuCtxSynchronize(void) { return usable(); }

int cuMemGetInfo_v2(size_t *free_bytes, size_t *total) {
  *free_bytes = (size_t)number("PRETEND_MEMORY", 1 << 30);
  *total = (size_t)2 << 30;
  return usable();
}
int cuMemAlloc_v2(unsigned long long *pointer, size_t bytes) {
  if (usable()) return INVALID_CONTEXT;
  if (bytes > (size_t)number("PRETEND_MEMORY", 1 << 30)) return OUT_OF_MEMORY;
  *pointer = (unsigned long long)malloc(bytes);
  device_blocks++;
  return OK;
}
int cuMemFree_v2(unsigned long long pointer) {
  if (usable()) return INVALID_CONTEXT;
  free((void *)pointer);
  device_blocks--;
  return OK;
}
int cuMemHostAlloc(void **pointer, size_t bytes, unsigned flags) {
  if (usable()) return INVALID_CONTEXT;
  *pointer = malloc(bytes);
  host_blocks++;
  return OK;
}
int cuMemFreeHost(void *pointer) {
  if (usable()) return INVALID_CONTEXT;
  free(pointer);
  host_blocks--;
  return OK;
}
int cuMemcpyHtoDAsync_v2(unsigned long long to, const void *from, size_t bytes, void *stream) {
  if (usable()) return INVALID_CONTEXT;
  memcpy((void *)to, from, bytes);
  return OK;
}
int cuMemcpyDtoHAsync_v2(void *to, unsigned long long from, size_t bytes, void *stream) {
  if (usable()) return INVALID_CONTEXT;
  memcpy(to, (void *)from, bytes);
  return OK;
}
int cuMemsetD8Async(unsigned long long to, unsigned char value, size_t bytes, void *stream) {
  if (usable()) return INVALID_CONTEXT;
  memset((void *)to, value, bytes);
  return OK;
}

int cuStreamCreate(void **stream, unsigned flags) {
  if (usable()) return INVALID_CONTEXT;
  *stream = malloc(1);
  streams++;
  return OK;
}
int cuStreamDestroy_v2(void *stream) { free(stream); streams--; return usable(); }
int cuStreamSynchronize(void *stream) { return usable(); }
int cuStreamQuery(void *stream) { return usable(); }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return usable(); }
int cuEventCreate(void **event, unsigned flags) {
  if (usable()) return INVALID_CONTEXT;
  *event = malloc(1);
  events++;
  return OK;
}
int cuEventDestroy_v2(void *event) { free(event); events--; return usable(); }
int cuEventRecord(void *event, void *stream) { return usable(); }
int cuEventSynchronize(void *event) { return usable(); }
int cuEventElapsedTime(float *milliseconds, void *start, void *end) { *milliseconds = 0.5f; return usable(); }
int cuEventElapsedTime_v2(float *milliseconds, void *start, void *end) { *milliseconds = 0.5f; return usable(); }

// What NVRTC 13 asks a driver for, if there is one.
int cuGetExportTable(const void **table, const void *id) { *table = NULL; return INVALID_VALUE; }

// Machine code for a GPU, as NVRTC makes it; it is not looked into.
int cuModuleLoadData(void **module, const void *image) {
  if (usable()) return INVALID_CONTEXT;
  if (memcmp(image, "\x7f" "ELF", 4)) return INVALID_VALUE;
  *module = malloc(1);
  modules++;
  return OK;
}
int cuModuleUnload(void *module) { free(module); modules--; return usable(); }
int cuModuleGetFunction(void **function, void *module, const char *name) {
  char paths[4096], symbol[128], *rest = paths, *path;
  snprintf(paths, sizeof(paths), "%s", getenv("PRETEND_KERNELS"));
  snprintf(symbol, sizeof(symbol), "launch_%s", name);
  while ((path = strsep(&rest, ":"))) {
    void *library = dlopen(path, RTLD_NOW);
    if (library && (*function = dlsym(library, symbol))) return OK;
  }
  return INVALID_VALUE;
}
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **arguments, void **extra) {
  const unsigned grid[3] = {gx, gy, gz}, block[3] = {bx, by, bz};
  if (usable()) return INVALID_CONTEXT;
  if (!arguments || extra || shared || !stream) return INVALID_VALUE;
  ((void (*)(const unsigned *, const unsigned *, void **))function)(grid, block, arguments);
  return OK;
}
