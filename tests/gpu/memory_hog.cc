// Takes the memory of a GPU but for some, and holds it until its standard input ends. Says how many
// bytes it has once it has them. Usage: memory_hog BYTES_LEFT
#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: memory_hog BYTES_LEFT\n");
    return EXIT_FAILURE;
  }
  std::size_t free_bytes = 0, total_bytes = 0;
  const std::size_t left = std::strtoull(argv[1], nullptr, 10);
  void* memory = nullptr;
  if (cudaMemGetInfo(&free_bytes, &total_bytes) != cudaSuccess || free_bytes <= left ||
      cudaMalloc(&memory, free_bytes - left) != cudaSuccess) {
    std::fprintf(stderr, "memory_hog: of %zu bytes, %zu free, none to be had\n", total_bytes,
                 free_bytes);
    return EXIT_FAILURE;
  }
  std::printf("%zu\n", free_bytes - left);
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  cudaFree(memory);
  return EXIT_SUCCESS;
}
