// Winograd's minimal filtering: OUTPUTS results of a filter of TAPS numbers by SIDE = OUTPUTS + TAPS - 1 products,
//
//   y = A^T [(G g) * (B^T d)],    y[i] = sum over t of g[t] d[i + t],
//
// in two dimensions with each matrix from both sides (Lavin and Gray, "Fast Algorithms for Convolutional Neural
// Networks", 2015). They are made by Cook and Toom's way from five points and infinity: row i of G is a_i^t / f_i, column
// i of A^T is a_i^k, row i of B^T holds the coefficients of the product of (x - a_j) over the other j, f_i its value at
// a_i. At the points 0, +-2/3 and +-3/2 errors are 1.8 times those of the plain sum, at 0, +-1 and +-2 four times.
//
// The filter's gradient takes the same matrices turned round: g' = G^T [(A y') * (B^T d)].

layout(constant_id = 12) const uint TAPS = 3;
#define SIDE 6
const uint OUTPUTS = SIDE + 1 - TAPS;

const float P = 2.0 / 3, Q = 3.0 / 2; // P Q = 1, which is what input_matrix is short by

// As formulas, not as tables: of a table glslang makes a copy for each look.
float point(uint i) {
    return i == 0 ? 0.0 : i == 1 ? P : i == 2 ? -P : i == 3 ? Q : -Q;
}

// a_i^k; infinity has the highest power alone
float power(uint i, uint k, uint powers) {
    if (i == SIDE - 1) return k == powers - 1 ? 1.0 : 0.0;
    float a = point(i);
    return k == 0 ? 1.0 : k == 1 ? a : k == 2 ? a * a : k == 3 ? a * a * a : a * a * a * a;
}

float input_matrix(uint i, uint l) {
    float a = point(i), b = i == 1 ? Q : i == 2 ? -Q : i == 3 ? P : -P; // 1 / a
    if (i == 0) return l == 0 || l == 4 ? 1.0 : l == 2 ? -P * P - Q * Q : 0.0;
    if (i == SIDE - 1) return l == 1 || l == 5 ? 1.0 : l == 3 ? -P * P - Q * Q : 0.0;
    return l == 1 ? -b : l == 2 ? -b * b : l == 3 ? a : l == 4 ? 1.0 : 0.0;
}
float filter_matrix(uint i, uint t) {
    float scale = i == 0 || i == SIDE - 1 ? 1.0 : i < 3 ? -81.0 / 130 : 8.0 / 65; // 1 / f
    return power(i, t, TAPS) * scale;
}
float output_matrix(uint k, uint i) {
    return power(i, k, OUTPUTS);
}
