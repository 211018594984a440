#ifndef PTYCHOSERVE_ENGINE_PROBE_HERMITIAN_EIGEN_H_
#define PTYCHOSERVE_ENGINE_PROBE_HERMITIAN_EIGEN_H_

#include <complex>
#include <vector>

namespace ptychoserve {

struct HermitianEigen {
  std::vector<double> values;                 // [n], falling.
  std::vector<std::complex<double>> vectors;  // [n, n]; row k belongs to values[k]. Orthonormal;
                                              // the largest component of each is positive.
};

// Eigenvalues and eigenvectors of the Hermitian `matrix`, [n, n] row-major and finite, by Jacobi's
// rotations (Golub and Van Loan, Matrix Computations, sect. 8.5). Meant for a few rows: n³ steps,
// some ten times over. Of a diagonal matrix the vectors are unit vectors, exactly.
HermitianEigen SolveHermitianEigen(int n, std::vector<std::complex<double>> matrix);

}  // namespace ptychoserve

#endif  // PTYCHOSERVE_ENGINE_PROBE_HERMITIAN_EIGEN_H_
